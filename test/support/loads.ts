/**
 * Work that clients do all the time while processes come and go. Each shape of payment is one load: what a client does once, over and
 * over, and what must be true when everybody has stopped. Paid calls are here, payments that take longer in long-loads.ts.
 */
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import type { Reply } from './app.ts';
import { usdc } from './market.ts';
import type { PlatformNode } from './nodes.ts';
import { eventually } from './platform-suite.ts';
import { startSeller, type Seller } from './sellers.ts';

/** A load on the way. */
export interface RunningLoad {
  readonly name: string;
  /** How many payments were begun and ended well. */
  paid(): number;
  /** Ends all clients, waits for what they have begun, and rejects with the first payment that failed. */
  stop(): Promise<void>;
  /** The money is where it belongs; after `stop`. */
  check(): Promise<void>;
  close(): Promise<void>;
}

/** Where a client asks: the process it likes best, and one that is always there. */
export interface Doors {
  readonly favourite: PlatformNode;
  readonly safe: PlatformNode;
  /** For looking behind the scenes. */
  readonly pool: pg.Pool;
}

export type Load = (doors: Doors) => Promise<RunningLoad>;

const CLIENTS = 3;

/** Lets so many clients do something over and over. */
export function repeat(once: (n: number) => Promise<void>, clientCount = CLIENTS): { stop(): Promise<void>; count(): number } {
  let going = true;
  let done = 0;
  const clients = Array.from({ length: clientCount }, async (_, client) => {
    for (let n = 0; going; n += 1) {
      await once(client * 1_000_000 + n);
      done += 1;
    }
  });
  // Looked at in `stop`; a payment that failed meanwhile is no unhandled rejection.
  const ended = Promise.all(clients).then(() => undefined);
  ended.catch(() => undefined);
  return {
    count: () => done,
    stop: () => {
      going = false;
      return ended;
    },
  };
}

/** Asks the favourite once and then the safe door, as a client behind a load balancer does, until there is a final answer. */
export async function insist({ favourite, safe }: Doors, ask: (at: PlatformNode) => Promise<Reply>, expected: number): Promise<Reply> {
  const first = await ask(favourite).catch(() => null);
  if (first?.status === expected) return first;
  return eventually(async () => {
    const reply = await ask(safe);
    if (reply.status !== expected) throw new Error(`Expected ${expected}, got ${reply.status}: ${reply.text}`);
    return reply;
  }, { withinMs: 30_000, everyMs: 200 });
}

/** Paid calls. The process that accepts them drives them; those of a process that was killed are ended by the workers. */
const calls: Load = async (doors) => {
  const { seller, owner, serviceType } = await aStall(doors, { kind: 'slow', ms: 60 });
  const session = await doors.safe.aSession({ maxTotal: '900.00', maxRequestsPerMinute: 1_000_000 });
  const load = repeat(async (n) => {
    const key = `${serviceType}-${n}`;
    const { body } = await insist(doors, (at) => at.buy(session, { serviceType, key, params: { n } }), 200);
    if (body.response.output.n !== n) throw new Error(`Call ${n} got the answer of another one.`);
  });
  return {
    name: 'calls', paid: load.count, stop: load.stop,
    async check() {
      const { body } = await doors.safe.closeSession(session);
      const paid = usdc('0.01') * BigInt(load.count());
      if (usdc(body.totalSpent) !== paid) throw new Error(`${load.count()} calls were answered, ${body.totalSpent} were charged.`);
      const { available } = await doors.safe.moneyOf(owner);
      if (available !== paid) throw new Error(`The seller has ${available} micros instead of ${paid}.`);
    },
    close: () => seller.close(),
  };
};

/** Each is opened, used once and closed; the closing is an update that a worker must answer, or the platform goes on without it. */
const sessions: Load = async (doors) => {
  const { seller, owner, serviceType } = await aStall(doors, { kind: 'ok' });
  const buyer = await doors.safe.aTrader('5000.00');
  const load = repeat(async (n) => {
    const headers = { 'idempotency-key': `open-${serviceType}-${n}` };
    const { body: { token } } =
      await insist(doors, (at) => at.ask('POST', '/v1/gateway/sessions', { key: buyer.key, headers, body: { maxTotal: '0.50' } }), 201);
    const session = { token: token as string, buyer };
    await insist(doors, (at) => at.buy(session, { serviceType, key: `${serviceType}-${n}` }), 200);
    const { body } = await insist(doors, (at) => at.closeSession(session), 200);
    if (body.totalSpent !== '0.010000'
      || body.session.status !== 'closed') throw new Error(`A session ended otherwise than it should: ${JSON.stringify(body)}`);
  });
  return {
    name: 'sessions', paid: load.count, stop: load.stop,
    async check() {
      const paid = usdc('0.01') * BigInt(load.count());
      const [mine, theirs] = [await doors.safe.moneyOf(buyer), await doors.safe.moneyOf(owner)];
      if (mine.pending !== 0n || mine.available !== usdc('5000.00') - paid || theirs.available !== paid) {
        throw new Error(`After ${load.count()} sessions the buyer has ${mine.available} and ${mine.pending} held, `
          + `the seller ${theirs.available}.`);
      }
    },
    close: () => seller.close(),
  };
};

/** A seller that every process has heard of. */
export async function aStall({ safe, favourite }: Doors,
    behaviour: Parameters<typeof startSeller>[1]): Promise<{ seller: Seller; owner: { address: string }; serviceType: string }> {
  const seller = await startSeller('Seller', behaviour);
  const serviceType = `load-${randomBytes(4).toString('hex')}`;
  const owner = await safe.offers(seller, { serviceType, price: '0.01', refundable: true });
  // Other processes hear of the service a moment later.
  await eventually(async () => {
    const { status } = await favourite.ask('GET', `/v1/services?type=${serviceType}`);
    if (status !== 200) throw new Error(`The services cannot be read: ${status}`);
    const probe = await favourite.aSession({ maxTotal: '0.01' });
    const { body } = await favourite.ask('POST', `/v1/gateway/sessions/${probe.token}/dry-run`,
      { key: probe.buyer.key, body: { serviceType } });
    await favourite.closeSession(probe);
    if (body.result?.serviceFound !== true) throw new Error('The process has not heard of the seller yet.');
  });
  return { seller, owner, serviceType };
}

/** Paid calls, one by one and in sessions. */
export const callLoads: readonly Load[] = [calls, sessions];
