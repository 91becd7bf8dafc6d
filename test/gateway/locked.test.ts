/** Somebody has locked a row of the ledger and does not let go. Those who do not need that row are served as ever. */
import { usdc, type OpenSession } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway', REQUEST_TIMEOUT: '25s' });

test('a locked account holds up the calls of its owner and of nobody else, and they are paid when it is free', async () => {
  const good = await seller('Good');
  const market = platform();
  const [stuck, ...free] = await Promise.all(Array.from({ length: 6 }, (_, n) => market.offers(good, { serviceType: `locked-${n}` })));
  const sessions = await Promise.all(Array.from({ length: 6 }, () => market.aSession({ maxTotal: '5.00' })));
  const buy = (n: number) => market.buy(sessions[n] as OpenSession, { serviceType: `locked-${n}` });
  // Accounts are made with their first payment.
  for (const n of [0, 1, 2, 3, 4, 5]) expect((await buy(n)).status).toBe(200);

  const client = await market.db.pool.connect();
  try {
    await client.query('BEGIN');
    await client.query('SELECT 1 FROM account WHERE owner = $1 FOR UPDATE', [stuck?.address]);
    const waiting = [1, 2, 3].map(() => buy(0));
    const servedMs: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      const begun = performance.now();
      const replies = await Promise.all([1, 2, 3, 4, 5].map(buy));
      expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
      servedMs.push(performance.now() - begun);
    }
    // Two seconds for the group that the locked one was in; those that follow do not meet it any more.
    expect(Math.max(...servedMs)).toBeLessThan(6_000);
    expect(servedMs.reduce((sum, ms) => sum + ms, 0)).toBeLessThan(9_000);
    await client.query('ROLLBACK');
    expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([200, 200, 200]);
  } finally {
    client.release(true);
  }
  const earned = await Promise.all([stuck, ...free].map(async (owner) => (await market.moneyOf(owner ?? { address: '' })).available));
  const price = usdc('0.10');
  await eventually(() => Promise.resolve(expect(earned).toEqual([4n * price, ...free.map(() => 5n * price)])));
}, 60_000);
