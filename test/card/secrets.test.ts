/** Number and cvv are in one answer and nowhere else: not in a row, not in a workflow's history, not in the log, not in a later answer. */
import { pino } from 'pino';
import { createCardSecrets } from '../../platform/card-secrets.ts';
import { startApp } from '../support/app.ts';
import { setCardStage, type Card, type CardStage } from '../support/cards.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'card' });
let stage: CardStage;
beforeEach(async () => {
  stage = await setCardStage(platform(), '100');
});

/** A card that was tried wrongly, charged with everything it has, and asked about; with each answer but the first. */
async function lived(): Promise<{ card: Card; answers: string }> {
  const options = { headers: { 'idempotency-key': 'secret-1' } };
  const card = (await stage.issue({ description: 'x' }, options)).body.card as Card;
  const replies = [
    await stage.issue({ description: 'x' }, options), await stage.charge(card, { cvv: card.cvv === '999' ? '998' : '999' }),
    await stage.charge(card, { amount: '11', cvv: card.cvv, expiry: card.expiry }),
    await stage.charge(card, { cvv: card.cvv, expiry: card.expiry }, stage.merchant, options),
    await stage.charge(card, { cvv: card.cvv, expiry: card.expiry }, stage.merchant, options),
    await stage.charge(card, { cvv: card.cvv }), await stage.get(card),
    await platform().ask('GET', `/v1/agents/${stage.buyer.address}/cards`, { key: stage.buyer.key }),
    await platform().ask('GET', `/v1/payments/${card.id}`, { key: stage.buyer.key }),
  ];
  expect(replies.map(({ status }) => status)).toEqual([201, 403, 403, 200, 200, 409, 200, 200, 200]);
  return { card, answers: replies.map(({ text }) => text).join('\n') };
}

/** The number whole, without its known beginning, and the cvv as a value or a word of its own. */
const tracesOf = ({ number, cvv }: Card): RegExp => new RegExp(`${number}|${number.slice(6)}|"cvv"|["' :]${cvv}["' ,}]`);

test('no later answer has them', async () => {
  const { card, answers } = await lived();
  expect(answers).not.toMatch(tracesOf(card));
  expect(answers).toContain(`"last4":"${card.number.slice(-4)}"`);
});

test('no row of any table has them', async () => {
  const { card } = await lived();
  const { pool } = platform().db;
  const { rows } = await pool.query<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`);
  expect(rows.length).toBeGreaterThan(15);
  for (const { name } of rows) {
    const { rows: [found] } = await pool.query<{ count: string }>(`SELECT count(*) FROM ${name} t WHERE t::text LIKE $1 OR t::text LIKE $2`,
      [`%${card.number}%`, `%${card.number.slice(6)}%`]);
    expect([name, found?.count]).toEqual([name, '0']);
  }
  const { rows: [row] } =
    await pool.query<{ terms: Record<string, unknown>; lookup: string }>('SELECT terms, lookup FROM payment WHERE id = $1', [card.id]);
  expect(row?.lookup).toBe(createCardSecrets('a key for tests').lookupOf(card.number));
  expect(Object.keys(row?.terms ?? {}).sort()).toEqual(['category', 'check', 'description', 'last4', 'lifeMs', 'merchant']);
});

test('no event of the workflow has them, encoded or not', async () => {
  const { card } = await lived();
  const handle = platform().temporal.client.workflow.getHandle(card.workflowId);
  await handle.result();
  const history = JSON.stringify(await handle.fetchHistory())
    .replace(/"data":"([A-Za-z0-9+/=]+)"/g, (_, payload: string) => Buffer.from(payload, 'base64').toString());
  // Of the terms, which are in an encoded payload: so those are looked into.
  expect(history).toContain('last4');
  expect(history).toContain('above_card_limit');
  expect(history).not.toMatch(tracesOf(card));
});

test('no line of the log has them, whatever goes wrong', async () => {
  const lines: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) });
  const { registry, runtime, db } = platform();
  const { keys, catalogue } = registry;
  const broken = { ...runtime.ports.payments, step: () => Promise.reject(new Error('It broke.')) };
  const card = await stage.aCard();
  const app = await startApp(
    { deps: { pool: db.pool, keys, catalogue, payments: broken, cards: createCardSecrets('a key for tests'), log } });
  try {
    const charge = (body: object) =>
      app.ask('POST', '/v1/cards/charge',
      { key: stage.merchant.key, body: { number: card.number, amount: '1', description: 'x', cvv: card.cvv, ...body } });
    expect((await charge({})).status).toBe(500);
    expect((await charge({ amount: '0' })).status).toBe(400);
    expect((await charge({ number: `${card.number}0` })).status).toBe(400);
    expect((await app.ask('POST', '/v1/cards', { key: stage.buyer.key, body: { amount: '1' } })).status).toBe(201);
  } finally {
    await app.close();
  }
  expect(lines.join('')).toContain('It broke.');
  expect(lines).toHaveLength(4);
  expect(lines.join('')).not.toMatch(tracesOf(card));
  await stage.cancel(card);
});

test('a number that another card has is never given out, and a payment is not opened with a secret that is taken', async () => {
  const { registry, runtime, db } = platform();
  const real = createCardSecrets('a key for tests');
  const taken = real.make();
  const cards = { ...real, make: () => (given++ === 1 ? real.make() : taken) };
  let given = 0;
  const app = await startApp(
    { deps: { pool: db.pool, keys: registry.keys, catalogue: registry.catalogue, payments: runtime.ports.payments, cards } });
  try {
    const issue = () => app.ask('POST', '/v1/cards', { key: stage.buyer.key, body: { amount: '1' } });
    given = 2;
    expect((await issue()).body.card.number).toBe(taken.number);
    given = 0;
    expect((await issue()).body.card.number).not.toBe(taken.number);
    given = 2;
    expect(await issue()).toMatchObject({ status: 503, body: { error: 'busy', funds_status: 'no_change' } });
    // Two processes that chose the same one at the same moment: the look found nothing, the index judges.
    const blind = await startApp(
      { deps: { pool: db.pool, keys: registry.keys, payments: { ...runtime.ports.payments, idByLookup: () => Promise.resolve(null) },
      cards } });
    expect(await blind.ask('POST', '/v1/cards', { key: stage.buyer.key, body: { amount: '1' } }))
      .toMatchObject({ status: 409, body: { error: 'invalid_state', message: expect.stringContaining('nothing was held') } });
    await blind.close();
  } finally {
    await app.close();
  }
});
