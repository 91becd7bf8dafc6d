/**
 * Payments that take longer than a call, done over and over while processes come and go: each is ended by its parties, or left to the
 * clock, which only a worker of its queue (or the sweeper behind it) can hear.
 */
import type { Reply } from './app.ts';
import type { Doors, Load } from './loads.ts';
import { aStall, insist, repeat } from './loads.ts';
import { usdc, type Trader } from './market.ts';
import type { PlatformNode } from './nodes.ts';
import { eventually } from './platform-suite.ts';

/** Few, so that what is measured is coming and going and not the machine. */
const CLIENTS = 1;
/** Every so manieth payment is left to the clock. */
const LEFT_TO_CLOCK = 4;
/** So soon that the clock strikes while processes come and go. */
const CLOCK_SECS = 2;
/** The sweeper looks ten seconds after a deadline; the rest is for a slow machine. */
const CLOCK_WITHIN_MS = 30_000;

const FUNDS = '1000.00';

/** One agent's request, with a key of its own, so that asking again changes nothing. */
type Asks = (who: Trader, path: string, body: unknown, key: string, expected?: number) => Promise<Reply['body']>;

function asksAt(doors: Doors): Asks {
  return async (who, path, body, key, expected = 200) =>
    (await insist(doors, (at) => at.ask('POST', path, { key: who.key, headers: { 'idempotency-key': key }, body }), expected)).body;
}

function mustBe(what: string, got: unknown, expected: unknown): void {
  const [is, should] = [JSON.stringify(got), JSON.stringify(expected)];
  if (is !== should) throw new Error(`${what}: expected ${should}, got ${is}`);
}

/** Which payments are left to the clock, and their end. */
function clock(at: PlatformNode, read: (id: string) => Promise<unknown>, end: unknown): { left(id: string): void; count(): number;
    strikes(): Promise<void> } {
  const ids: string[] = [];
  return {
    left: (id) => { ids.push(id); },
    count: () => ids.length,
    async strikes() {
      if (ids.length === 0) throw new Error(`Nothing was left to the clock at ${at.url}.`);
      for (const id of ids) await eventually(async () => mustBe(id, await read(id), end), { withinMs: CLOCK_WITHIN_MS, everyMs: 200 });
    },
  };
}

/** What the buyer has spent is what the sellers have, and nothing is held any more. */
async function moneyIs({ pool }: Doors, buyer: Trader, sellers: readonly { readonly address: string }[],
    paidMicros: bigint): Promise<void> {
  const { rows } = await pool.query<{ owner: string; available: string; kept: string }>(
    'SELECT owner, available, pending + escrowed AS kept FROM account WHERE owner = ANY ($1)',
    [[buyer.address, ...sellers.map(({ address }) => address)]],
  );
  const purse = rows.find(({ owner }) => owner === buyer.address);
  const earned = rows.reduce((sum, { owner, available }) => (owner === buyer.address ? sum : sum + BigInt(available)), 0n);
  mustBe('Spent, kept and earned', [String(usdc(FUNDS) - BigInt(purse?.available ?? 0)), purse?.kept, String(earned)],
    [String(paidMicros), '0', String(paidMicros)]);
}

/** Delivered and confirmed; or not delivered in time, and given back. */
const escrows: Load = async (doors) => {
  const { safe } = doors;
  const [buyer, seller] = [await safe.aTrader(FUNDS), await safe.aTrader()];
  const asks = asksAt(doors);
  const undelivered = clock(safe, async (id) => {
    const { body } = await safe.ask('GET', `/v1/escrow/${id}`, { key: buyer.key });
    return [body.escrow.status, body.escrow.resolution];
  }, ['refunded', 'delivery_expired']);
  const load = repeat(async (n) => {
    const late = n % LEFT_TO_CLOCK === 1;
    const terms = { buyerAddr: buyer.address, sellerAddr: seller.address, amount: '0.10',
      ...(late ? { autoRelease: `${CLOCK_SECS}s` } : {}) };
    const { escrow: { id } } = await asks(buyer, '/v1/escrow', terms, `make-${n}`, 201);
    if (late) {
      undelivered.left(id);
      return;
    }
    await asks(seller, `/v1/escrow/${id}/deliver`, {}, `deliver-${n}`);
    mustBe(id, (await asks(buyer, `/v1/escrow/${id}/confirm`, {}, `confirm-${n}`)).escrow.status, 'released');
  }, CLIENTS);
  return {
    name: 'escrows', paid: load.count, stop: load.stop, close: () => Promise.resolve(),
    async check() {
      await undelivered.strikes();
      await moneyIs(doors, buyer, [seller], usdc('0.10') * BigInt(load.count() - undelivered.count()));
    },
  };
};

/** Every step confirmed; or none, and all of it given back when the time is up. */
const multisteps: Load = async (doors) => {
  const { safe } = doors;
  const [buyer, ...sellers] = [await safe.aTrader(FUNDS), await safe.aTrader(), await safe.aTrader()];
  const plan = sellers.map(({ address }) => ({ sellerAddr: address, amount: '0.10' }));
  const asks = asksAt(doors);
  const unfinished = clock(safe, async (id) => {
    const { body } = await safe.ask('GET', `/v1/escrow/multistep/${id}`, { key: buyer.key });
    return [body.escrow.status, body.escrow.resolution, body.escrow.refundedAmount];
  }, ['aborted', 'expired', '0.200000']);
  const load = repeat(async (n) => {
    const late = n % LEFT_TO_CLOCK === 1;
    const body = { totalAmount: '0.20', totalSteps: plan.length, plannedSteps: plan, ...(late ? { expiresIn: `${CLOCK_SECS}s` } : {}) };
    const { escrow: { id } } = await asks(buyer, '/v1/escrow/multistep', body, `make-${n}`, 201);
    if (late) {
      unfinished.left(id);
      return;
    }
    let status = '';
    for (const [stepIndex, step] of plan.entries()) (
      { status } = (await asks(buyer, `/v1/escrow/multistep/${id}/confirm-step`, { stepIndex, ...step }, `step-${n}-${stepIndex}`)).escrow);
    mustBe(id, status, 'completed');
  }, CLIENTS);
  return {
    name: 'multistep escrows', paid: load.count, stop: load.stop, close: () => Promise.resolve(),
    async check() {
      await unfinished.strikes();
      await moneyIs(doors, buyer, sellers, usdc('0.20') * BigInt(load.count() - unfinished.count()));
    },
  };
};

/** Ticked and closed; or ticked and forgotten, and closed by the clock. Either way the ticks are paid. */
const streams: Load = async (doors) => {
  const { safe } = doors;
  const [buyer, seller] = [await safe.aTrader(FUNDS), await safe.aTrader()];
  const asks = asksAt(doors);
  const TICKS = 3;
  const forgotten = clock(safe, async (id) => {
    const { body } = await safe.ask('GET', `/v1/streams/${id}`, { key: buyer.key });
    return [body.stream.status, body.stream.tickCount];
  }, ['stale_closed', TICKS]);
  const load = repeat(async (n) => {
    const late = n % LEFT_TO_CLOCK === 1;
    // Long enough that three ticks are in time even while a process is being mourned.
    const terms = { buyerAddr: buyer.address, sellerAddr: seller.address, holdAmount: '0.10', pricePerTick: '0.01', staleTimeoutSecs: late
      ? 3 * CLOCK_SECS : 600 };
    const { stream: { id } } = await asks(buyer, '/v1/streams', terms, `open-${n}`, 201);
    for (let seq = 1; seq <= TICKS; seq += 1) await asks(seller, `/v1/streams/${id}/tick`, { seq }, `tick-${n}-${seq}`);
    if (late) {
      forgotten.left(id);
      return;
    }
    const { stream } = await asks(buyer, `/v1/streams/${id}/close`, {}, `close-${n}`);
    mustBe(id, [stream.status, stream.tickCount], ['closed', TICKS]);
  }, CLIENTS);
  return {
    name: 'streams', paid: load.count, stop: load.stop, close: () => Promise.resolve(),
    async check() {
      await forgotten.strikes();
      await moneyIs(doors, buyer, [seller], usdc('0.01') * BigInt(TICKS * load.count()));
    },
  };
};

/** Three steps, the middle one slow, so that processes come and go in the middle of it. */
const pipelines: Load = async (doors) => {
  const { safe } = doors;
  const stalls = [await aStall(doors, { kind: 'ok' }), await aStall(doors, { kind: 'slow', ms: 400 }), await aStall(doors, { kind: 'ok' })];
  const buyer = await safe.aTrader(FUNDS);
  const session = await safe.aSession({ maxTotal: '500.00', maxRequestsPerMinute: 1_000_000 }, buyer);
  const load = repeat(async (n) => {
    const steps = stalls.map(({ serviceType }, step) => ({ serviceType, params: { n }, refundable: n % 2 === 0 && step === 0 }));
    const { body } = await insist(doors, (at) => at.ask('POST', '/v1/gateway/pipeline', {
      key: buyer.key, headers: { 'x-gateway-token': session.token, 'idempotency-key': `line-${n}` }, body: { steps },
    }), 200);
    mustBe(`Pipeline ${n}`, [body.status, body.totalPaid], ['completed', '0.030000']);
  }, CLIENTS);
  return {
    name: 'pipelines', paid: load.count, stop: load.stop,
    async check() {
      await safe.closeSession(session);
      await moneyIs(doors, buyer, stalls.map(({ owner }) => owner), usdc('0.03') * BigInt(load.count()));
    },
    close: async () => { await Promise.all(stalls.map(({ seller }) => seller.close())); },
  };
};

/** Every shape of payment that is kept by a workflow for longer than a call. */
export const longLoads: readonly Load[] = [escrows, multisteps, streams, pipelines];
