/** Two things at once, many times: exactly one of them happens, the loser is told so, and the books stay balanced. */
import type { Reply } from '../support/app.ts';
import { anOpenMultistep, confirm, moneyIn, read, refund, type OpenMultistep } from '../support/multistep.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

// The books are proved after each test.
const { platform } = createPlatformSuite({ WORKER_QUEUES: 'multistep' });
const TRIES = 20;

const codes = (replies: readonly Reply[]): string[] =>
  replies.map(({ status, body }) => (status === 200 ? 'ok' : `${status} ${body.error as string}`)).sort();

/** What the buyer has back and what the sellers earned are together what was held, and nothing is held any more. */
async function settled(escrow: OpenMultistep): Promise<{ paid: number; back: number; status: string }> {
  const { body: { escrow: shown } } = await read(platform(), escrow);
  const buyer = await moneyIn(platform().db.pool, escrow.buyer);
  const sellers = await Promise.all(escrow.sellers.map((seller) => moneyIn(platform().db.pool, seller)));
  const paid = sellers.reduce((sum, { available }) => sum + available, 0);
  expect(buyer.escrowed).toBe(0);
  expect(paid + buyer.available).toBe(Number(shown.totalAmount.replace('.', '')));
  expect([shown.spentAmount, shown.refundedAmount].map((text: string) => Number(text.replace('.', '')))).toEqual([paid, buyer.available]);
  return { paid, back: buyer.available, status: shown.status as string };
}

/** One try after the other, so that the rivals of one escrow meet and not those of different ones. */
async function many(attempt: (n: number) => Promise<void>): Promise<void> {
  for (let n = 0; n < TRIES; n += 1) await attempt(n);
}

test('two confirmations of one step at once: one is paid, the other is a duplicate', async () => {
  await many(async () => {
    const escrow = await anOpenMultistep(platform(), ['0.10', '0.20']);
    expect(codes(await Promise.all([0, 0, 0, 0].map((step) => confirm(platform(), escrow, step)))))
      .toEqual(['409 duplicate_step', '409 duplicate_step', '409 duplicate_step', 'ok']);
    await refund(platform(), escrow);
    expect(await settled(escrow)).toEqual({ paid: 100_000, back: 200_000, status: 'aborted' });
  });
}, 120_000);

test('a confirmation against a refund: either the seller is paid and the rest comes back, or all of it comes back', async () => {
  await many(async (n) => {
    const escrow = await anOpenMultistep(platform(), ['0.10', '0.20']);
    const rivals = [(): Promise<Reply> => confirm(platform(), escrow, 0), (): Promise<Reply> => refund(platform(), escrow)];
    const [first, second] = await Promise.all((n % 2 === 0 ? rivals : rivals.toReversed()).map((rival) => rival()));
    const [confirmed, refunded] = n % 2 === 0 ? [first, second] : [second, first];
    expect(refunded?.status).toBe(200);
    const { paid, status } = await settled(escrow);
    expect([status, confirmed?.status === 200 ? 'paid' : confirmed?.body.error])
      .toEqual(['aborted', paid === 100_000 ? 'paid' : 'invalid_state']);
  });
}, 120_000);

test('the last step against a refund: the escrow is completed or aborted, never both', async () => {
  await many(async (n) => {
    const escrow = await anOpenMultistep(platform(), ['0.10', '0.20']);
    await confirm(platform(), escrow, 1);
    const rivals = [(): Promise<Reply> => confirm(platform(), escrow, 0), (): Promise<Reply> => refund(platform(), escrow)];
    const replies = await Promise.all((n % 2 === 0 ? rivals : rivals.toReversed()).map((rival) => rival()));
    expect(codes(replies)).toEqual(['409 invalid_state', 'ok']);
    const { paid, status } = await settled(escrow);
    expect([paid, status]).toEqual(status === 'completed' ? [300_000, 'completed'] : [200_000, 'aborted']);
  });
}, 120_000);

test('two last steps at once complete the escrow once', async () => {
  await many(async () => {
    const escrow = await anOpenMultistep(platform(), ['0.10', '0.20', '0.30']);
    expect(codes(await Promise.all([0, 1, 2].map((step) => confirm(platform(), escrow, step))))).toEqual(['ok', 'ok', 'ok']);
    expect(await settled(escrow)).toEqual({ paid: 600_000, back: 0, status: 'completed' });
  });
}, 120_000);

test('two refunds at once: the money comes back once', async () => {
  await many(async () => {
    const escrow = await anOpenMultistep(platform(), ['0.10', '0.20']);
    expect(codes(await Promise.all([refund(platform(), escrow), refund(platform(), escrow)]))).toEqual(['409 invalid_state', 'ok']);
    expect(await settled(escrow)).toEqual({ paid: 0, back: 300_000, status: 'aborted' });
  });
}, 120_000);

test('confirmations around the deadline: before it the step is paid, from it on everything open comes back', async () => {
  const escrows = await Promise.all(Array.from({ length: TRIES },
    () => anOpenMultistep(platform(), ['0.10', '0.20'], { expiresIn: '1500ms' })));
  const replies = await Promise.all(escrows.map(async (escrow, n) => {
    const { body } = await read(platform(), escrow);
    // Spread closely around the moment itself.
    await new Promise((resolve) => setTimeout(resolve, Date.parse(body.escrow.deadline) - Date.now() + (n - TRIES / 2) * 4));
    return confirm(platform(), escrow, 0);
  }));
  // Every workflow, and the sweeper behind it, has its say.
  await Promise.all(escrows.map(({ workflowId }) => platform().temporal.client.workflow.getHandle(workflowId).result()));
  for (const [n, escrow] of escrows.entries()) {
    const { paid, status } = await settled(escrow);
    expect([status, replies[n]?.status, paid]).toEqual(['aborted', ...(paid === 0 ? [409, 0] : [200, 100_000])]);
  }
}, 120_000);

test('crossing escrows between the same agents do not deadlock', async () => {
  const [one, two] = [await platform().aTrader('5'), await platform().aTrader('5')];
  const make = async (buyer: typeof one, seller: typeof one): Promise<OpenMultistep> => {
    const { body } = await platform().ask('POST', '/v1/escrow/multistep', {
      key: buyer.key, body: { totalAmount: '0.4', totalSteps: 4,
        plannedSteps: Array.from({ length: 4 }, () => ({ sellerAddr: seller.address, amount: '0.1' })) },
    });
    return { buyer, sellers: [seller], amounts: Array(4).fill('0.1'), id: body.escrow.id as string,
      workflowId: body.escrow.workflowId as string };
  };
  const escrows = await Promise.all(Array.from({ length: 10 }, (_, n) => (n % 2 === 0 ? make(one, two) : make(two, one))));
  const replies = await Promise.all(escrows.flatMap((escrow) => [0, 1, 2].map((step) => confirm(platform(), escrow, step))));
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
  await Promise.all(escrows.map((escrow) => refund(platform(), escrow)));
  expect(await Promise.all([one, two].map((agent) => moneyIn(platform().db.pool, agent))))
    .toEqual([{ available: 5_000_000, escrowed: 0 }, { available: 5_000_000, escrowed: 0 }]);
}, 120_000);
