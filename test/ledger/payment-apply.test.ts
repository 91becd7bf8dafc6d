/** The one statement that moves money for payments on the engine: what it refuses, and what many at once leave behind. */
import pg from 'pg';
import { escrowRules } from '../../domain/escrow.ts';
import { decideByClock } from '../../domain/decide.ts';
import type { Payment } from '../../domain/payment.ts';
import { auditBooks } from '../../ledger/audit.ts';
import type { Applied, ApplyItem } from '../../ledger/payment-rows.ts';
import { anItem, anOpeningItem, inTime, rowOf as rowIn, whatOf } from '../support/applied.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { deadlineIn, purse } from '../support/escrows.ts';
import { usdc } from '../support/market.ts';
import { anOpening, directPayments, noAttempt, type DirectPayments } from '../support/payments.ts';

let db: TestDatabase;
let payments: DirectPayments;
/** Another process on the same database. */
let other: DirectPayments;
let otherPool: pg.Pool;
let buyer: string;
let seller: string;
beforeAll(async () => {
  db = await createTestDatabase(20);
  otherPool = new pg.Pool({ connectionString: db.url, max: 10 });
  [payments, other] = [await directPayments(db.pool), await directPayments(otherPool)];
}, 30_000);
beforeEach(async () => {
  [buyer, seller] = [anAddress(), anAddress()];
  await aDeposit(db.pool, buyer, '10');
});
afterAll(async () => {
  expect(await auditBooks(db.pool)).toEqual({ ok: true, findings: [] });
  await otherPool.end();
  await db.close();
});

const rowOf = (id: string): Promise<Payment> => rowIn(payments.store, id);
const anEscrow = async (): Promise<string> => (await payments.escrow({ buyer, seller })).id;
const apply = (...items: ApplyItem[]): Promise<Applied[]> => Promise.all(items.map((item) => payments.store.apply(item)));
const outcomes = (applied: readonly Applied[]): string[] => applied.map(({ outcome }) => outcome);
const rowsOf = async (table: string, where: string, value: string): Promise<number> => {
  const { rows } = await db.pool.query<{ count: string }>(`SELECT count(*) FROM ${table} WHERE ${where} = $1`, [value]);
  return Number(rows[0]?.count);
};

describe('what a decision assumed', () => {
  test('a payment that has moved on since is left alone', async () => {
    const before = await rowOf(await anEscrow());
    await payments.step(before.id, 'deliver', seller);
    const after = await rowOf(before.id);
    expect(outcomes(await apply(anItem(before, inTime(before, 'confirm', buyer))))).toEqual(['conflict']);
    expect(await rowOf(before.id)).toEqual(after);
    expect((await purse(db.pool, { address: seller })).available).toBe(0n);
  });

  test('a version that the payment has not reached yet is a conflict as well, and so is one that is not there', async () => {
    const payment = await rowOf(await anEscrow());
    const verdict = inTime(payment, 'deliver', seller);
    expect(outcomes(await apply(anItem(payment, verdict, { expect: 2 }),
      anItem(payment, verdict, { id: 'esc_nobody' })))).toEqual(['conflict', 'conflict']);
  });

  test('a step in time is a conflict once the deadline has passed by the database\'s clock', async () => {
    const payment = await rowOf(await anEscrow());
    await deadlineIn(db.pool, payment.id, -1);
    const inTimeThen = inTime(payment, 'deliver', seller);
    expect(outcomes(await apply(anItem(payment, inTimeThen)))).toEqual(['conflict']);
    await deadlineIn(db.pool, payment.id, 60_000);
    expect(outcomes(await apply(anItem(payment, inTimeThen)))).toEqual(['done']);
  });

  test('the clock\'s decision is a conflict while the deadline has not passed by the database\'s clock', async () => {
    const payment = await rowOf(await anEscrow());
    const verdict = decideByClock(escrowRules, payment, payment.deadlineMs ?? 0);
    expect(outcomes(await apply(anItem(payment, verdict)))).toEqual(['conflict']);
    await deadlineIn(db.pool, payment.id, -1);
    expect(await apply(anItem(payment, verdict))).toMatchObject([{ outcome: 'done', payment: { state: 'refunded' },
      refusal: { code: 'invalid_state' } }]);
  });

  test('a decision that assumes nothing of the deadline is done before and after it', async () => {
    for (const ms of [-1, 60_000]) {
      const payment = await rowOf(await anEscrow());
      await deadlineIn(db.pool, payment.id, ms);
      const verdict = inTime(payment, 'decline', seller);
      if (verdict.kind === 'refuse') throw new Error(verdict.refusal.message);
      expect(outcomes(await apply(anItem(payment, { ...verdict, decision: { ...verdict.decision, isDue: null } })))).toEqual(['done']);
    }
  });

  test('a deadline that falls between looking and writing lets the clock decide, and the step is refused', async () => {
    const id = await anEscrow();
    const seen = await payments.store.read(id);
    if (seen === null) throw new Error('It is not there.');
    await deadlineIn(db.pool, id, -1);
    const taken = await payments.taker.step(escrowRules, { ...noAttempt, id, step: 'deliver', actor: { address: seller, as: null },
      input: {}, seen });
    expect(taken).toMatchObject({ kind: 'refused', refusal: { code: 'invalid_state',
      message: expect.stringContaining('delivery_expired') }, payment: { state: 'refunded', version: 2 } });
  });
});

describe('a group', () => {
  test('with two steps of one payment does the first, and the second finds that it has moved on', async () => {
    const payment = await rowOf(await anEscrow());
    const both = await apply(anItem(payment, inTime(payment, 'confirm', buyer)), anItem(payment, inTime(payment, 'decline', seller)));
    expect(outcomes(both)).toEqual(['done', 'conflict']);
    const second = await anEscrow();
    const taken = await Promise.all([payments.step(second, 'deliver', seller), payments.step(second, 'dispute', buyer, { reason: 'no' })]);
    // Whoever found it moved looked again and decided anew.
    expect(taken.map(({ kind }) => kind)).toContain('done');
    expect(['delivered', 'disputed']).toContain((await rowOf(second)).state);
    expect((await rowOf(second)).version).toBe(1 + taken.filter(({ kind }) => kind === 'done').length);
  });

  test('in which one breaks a rule of the table is done without it', async () => {
    const good = Array.from({ length: 6 }, () => anOpening({ buyer, seller }));
    const bad = anOpening({ buyer, seller });
    const tooLong = { ...bad, terms: { ...(bad.terms as object), serviceId: 'x'.repeat(5_000) } };
    const settled = await Promise.allSettled([...good.slice(0, 3), tooLong, ...good.slice(3)].map((opening) =>
      payments.store.apply(anOpeningItem(opening))));
    expect(settled.map(({ status }) => status)).toEqual([...Array(3).fill('fulfilled'), 'rejected', ...Array(3).fill('fulfilled')]);
    expect(settled[3]).toMatchObject({ reason: { code: '23514', constraint: 'payment_terms_are_short' } });
    expect((await purse(db.pool, { address: buyer })).escrowed).toBe(usdc('6'));
    expect(await rowsOf('hold', 'id', bad.id)).toBe(0);
  });

  test('of openings that the money is not enough for does as many as it is enough for', async () => {
    const opened = await Promise.all(Array.from({ length: 14 }, () => payments.escrow({ buyer, seller })));
    expect(opened.filter(({ kind }) => kind === 'done')).toHaveLength(10);
    expect(opened.filter((taken) => whatOf(taken) === 'insufficient_balance')).toHaveLength(4);
    expect(await purse(db.pool, { address: buyer })).toEqual({ available: 0n, escrowed: usdc('10') });
  });
});

test('an opening without enough money leaves nothing behind: no payment, no account, no key, no hold, no notice', async () => {
  const [poor, rich] = [anAddress(), anAddress()];
  const opening = anOpening({ buyer: poor, seller: rich });
  const claim = { owner: poor, key: 'make', requestHash: 'h' };
  const taken = await payments.taker.open(escrowRules, { ...noAttempt, opening, claim, askedAtMs: Date.now(), workflowStarted: false });
  expect(taken).toMatchObject({ kind: 'refused', refusal: { code: 'insufficient_balance' }, payment: null });
  for (const owner of [poor, rich]) expect(await rowsOf('account', 'owner', owner)).toBe(0);
  expect(await rowsOf('idempotency', 'agent_address', poor)).toBe(0);
  for (const [table, column] of [['payment', 'id'], ['hold', 'id'], ['workflow_notice', 'payment_id'], ['payment_event', 'payment_id'],
    ['outbox', 'ref'], ['posting', 'ref']]) {
    expect([table, await rowsOf(table ?? '', column ?? '', opening.id)]).toEqual([table, 0]);
  }
});

test('what a decision leaves behind: the row, an event, one in the outbox, and a notice until the workflow is no more needed', async () => {
  const id = await anEscrow();
  await payments.step(id, 'dispute', buyer, { reason: 'Half of it is missing.' });
  const { rows: notices } = await db.pool.query('SELECT kind, version FROM workflow_notice WHERE payment_id = $1', [id]);
  expect(notices).toEqual([{ kind: 'escrow', version: 2 }]);
  await payments.step(id, 'resolve', { address: null, as: 'platform' }, { resolution: 'partial', releaseAmount: '0.25',
    reason: 'a start' });
  expect(await payments.store.eventsAfter(id, 0)).toMatchObject([
    { version: 1, step: 'open', role: 'buyer', by: buyer, state: 'pending', heldMicros: usdc('1'), note: null },
    { version: 2, step: 'dispute', role: 'buyer', by: buyer, state: 'disputed', heldMicros: 0n, note: 'Half of it is missing.' },
    {
      version: 3, step: 'resolve', role: 'platform', by: 'platform', state: 'released', deadlineMs: null, paidMicros: usdc('0.25'),
      returnedMicros: usdc('0.75'), payee: seller,
      resolution: 'arbitration_partial: a start', note: 'a start',
    },
  ]);
  const { rows: told } = await db.pool.query('SELECT topic, data FROM outbox WHERE ref = $1 ORDER BY id', [id]);
  expect(told).toMatchObject([
    { topic: 'escrow.open', data: { version: 1, state: 'pending', by: buyer } },
    { topic: 'escrow.dispute', data: { version: 2, state: 'disputed' } },
    { topic: 'escrow.resolve', data: { version: 3, state: 'released', by: 'platform' } },
  ]);
  // It began and ended without a workflow: nobody has anything to hear.
  expect(await rowsOf('workflow_notice', 'payment_id', id)).toBe(0);
});

describe('many at once', () => {
  const deadlocks = async (): Promise<string | undefined> => {
    const text = 'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()';
    const { rows } = await db.pool.query<{ deadlocks: string }>(text);
    return rows[0]?.deadlocks;
  };

  test('fifty who confirm and decline the same escrow from two processes move its money once', async () => {
    const id = await anEscrow();
    const taken = await Promise.allSettled(Array.from({ length: 50 }, (_, n) => (n % 4 < 2 ? payments : other).step(id,
      n % 2 === 0 ? 'confirm' : 'decline', n % 2 === 0 ? buyer : seller)));
    expect(taken.filter((one) => one.status === 'fulfilled' && one.value.kind === 'done')).toHaveLength(1);
    for (const one of taken) if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'busy' });
    expect((await rowOf(id)).version).toBe(2);
    const [mine, theirs] = [await purse(db.pool, { address: buyer }), await purse(db.pool, { address: seller })];
    expect([mine.available + theirs.available, mine.escrowed]).toEqual([usdc('10'), 0n]);
  });

  test('as many pieces of evidence as there may be, all at once, are all on record, and one more is not', async () => {
    const id = await anEscrow();
    await payments.step(id, 'dispute', buyer, { reason: 'no' });
    const said = await Promise.all(Array.from({ length: 25 }, (_, n) => payments.step(id, 'evidence', buyer, { content: `entry ${n}` })));
    // The reason of the dispute is the first of the twenty.
    expect(said.map(whatOf).sort()).toEqual([...Array<string>(19).fill('disputed'), ...Array<string>(6).fill('evidence_limit')]);
    expect((await rowOf(id)).version).toBe(21);
  });

  test('opposing escrows between two agents, by the dozen from two processes, never lock one another out', async () => {
    await aDeposit(db.pool, seller, '40');
    await aDeposit(db.pool, buyer, '40');
    const nodes = [payments, other] as const;
    const before = await deadlocks();
    const live = async (n: number): Promise<string> => {
      const [node, from, to] = [nodes[n % 2] ?? payments, n % 3 === 0 ? buyer : seller, n % 3 === 0 ? seller : buyer];
      const { id } = await node.escrow({ buyer: from, seller: to });
      if (n % 5 === 0) return whatOf(await node.step(id, 'decline', to));
      await node.step(id, 'deliver', to);
      return whatOf(await node.step(id, 'confirm', from));
    };
    const ends = await Promise.all(Array.from({ length: 48 }, (_, n) => live(n)));
    expect(ends.filter((end) => end !== 'released' && end !== 'refunded')).toEqual([]);
    const both = await Promise.all([buyer, seller].map((address) => purse(db.pool, { address })));
    expect(both.map(({ escrowed }) => escrowed)).toEqual([0n, 0n]);
    expect(both.reduce((sum, { available }) => sum + available, 0n)).toBe(usdc('90'));
    expect(await deadlocks()).toBe(before);
  }, 30_000);
});
