/** Escrows over the HTTP of a running platform: made, moved to any state, and looked at from behind. */
import type pg from 'pg';
import type { AskOptions, Reply } from './app.ts';
import type { Market, Trader } from './market.ts';

/** The parties of one escrow, and a stranger. */
export interface Cast {
  readonly buyer: Trader;
  readonly seller: Trader;
  readonly arbiter: Trader;
  readonly stranger: Trader;
}

export interface EscrowWish {
  readonly amount?: string;
  /** Further fields of the request, such as `autoRelease`. */
  readonly terms?: Readonly<Record<string, unknown>>;
  /** Without it the platform rules. */
  readonly arbiter?: boolean;
}

export interface EscrowStage {
  readonly cast: Cast;
  create(wish?: EscrowWish, options?: AskOptions): Promise<Reply>;
  /** A fresh escrow. @returns its id. */
  anEscrow(wish?: EscrowWish): Promise<string>;
  /** A fresh escrow in this state, reached by the steps of its parties. */
  anEscrowIn(status: string, wish?: EscrowWish): Promise<string>;
  step(id: string, step: string, who: Trader | null, body?: unknown, options?: AskOptions): Promise<Reply>;
  /** The answer's status and code, or status and state when it went well. */
  outcome(reply: Reply): string;
  get(id: string, who?: Trader): Promise<Record<string, string>>;
}

export const adminSecret = 'a-secret-for-tests';

/** Bodies with which each step is complete. */
export const bodies: Readonly<Record<string, unknown>> = { dispute: { reason: 'It is not what we agreed on.' },
  evidence: { content: 'See for yourself.' }, resolve: { resolution: 'release' } };

/** A stage with agents of its own. @param funds of the buyer, decimal text. */
export async function setStage(market: Market, funds = '1000'): Promise<EscrowStage> {
  const [buyer, seller, arbiter, stranger] =
    await Promise.all([market.aTrader(funds), market.aTrader(), market.aTrader(), market.aTrader()]);
  const cast = { buyer, seller, arbiter, stranger };

  const create: EscrowStage['create'] = ({ amount = '1.00', terms = {}, arbiter: named = true } = {}, options = {}) =>
      market.ask('POST', '/v1/escrow', {
    key: buyer.key, body: { buyerAddr: buyer.address, sellerAddr: seller.address, amount,
      ...(named ? { arbitratorAddr: arbiter.address } : {}), ...terms }, ...options,
  });
  const must = async (status: number, reply: Promise<Reply>): Promise<Reply> => {
    const got = await reply;
    if (got.status !== status) throw new Error(`Expected ${status}, got ${got.status}: ${got.text}`);
    return got;
  };
  const anEscrow: EscrowStage['anEscrow'] = async (wish) => (await must(201, create(wish))).body.escrow.id as string;
  const step: EscrowStage['step'] = (id, name, who, body = bodies[name], options = {}) =>
    market.ask('POST', `/v1/escrow/${id}/${name}`,
      { ...(who === null ? { adminSecret } : { key: who.key }), ...(body === undefined ? {} : { body }), ...options });

  return {
    cast, create, anEscrow, step,
    async anEscrowIn(status, wish) {
      const id = await anEscrow(wish);
      const path = { pending: [], delivered: ['deliver'], disputed: ['deliver', 'dispute'],
        arbitrating: ['deliver', 'dispute', 'arbitrate'], released: ['confirm'], refunded: ['decline'] }[status];
      for (const name of path ?? []) await must(200, step(id, name, name === 'deliver' || name === 'decline' ? seller : buyer));
      return id;
    },
    outcome: ({ status, body }) => `${status} ${body?.error ?? body?.escrow?.status}`,
    async get(id, who = buyer) {
      return (await must(200, market.ask('GET', `/v1/escrow/${id}`, { key: who.key }))).body.escrow;
    },
  };
}

/** Lets the time of an escrow's state pass, or nearly: its deadline is moved to so many milliseconds from now, by the database's clock. */
export async function deadlineIn(pool: pg.Pool, id: string, ms: number): Promise<void> {
  await pool.query(`UPDATE payment SET deadline = clock_timestamp() + $2 * interval '1 millisecond' WHERE id = $1`, [id, ms]);
}

/** Micros of an owner in each of the two places an escrow knows. */
export async function purse(pool: pg.Pool, { address }: { readonly address: string }): Promise<{ available: bigint; escrowed: bigint }> {
  const { rows } = await pool.query<{ available: string; escrowed: string }>(
    `SELECT available, escrowed FROM account WHERE owner = $1 AND asset = 'USDC'`, [address]);
  return { available: BigInt(rows[0]?.available ?? 0), escrowed: BigInt(rows[0]?.escrowed ?? 0) };
}
