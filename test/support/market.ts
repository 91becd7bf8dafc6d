/** Buyers, sellers and purchases over the HTTP of a running platform, in this process or in another one. */
import type pg from 'pg';
import { parseAmount } from '../../domain/money.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { askAt, type AskOptions, type Reply } from './app.ts';
import { aDeposit, anAddress } from './builders.ts';
import type { Seller } from './sellers.ts';

export interface Trader {
  readonly address: string;
  /** Secret of its API key. */
  readonly key: string;
}

export interface Offering {
  readonly serviceType?: string;
  readonly price?: string;
  readonly name?: string;
  /** Works once for one Idempotency-Key; true unless the test is about the other kind. */
  readonly idempotent?: boolean;
  /** Lets its work be given back unpaid when a pipeline does not complete; false unless the test is about that. */
  readonly refundable?: boolean;
  /** The longest time its work takes; none declared unless the test is about long calls. */
  readonly maxDurationSecs?: number;
  /** Where it is called, when it is not the seller's own endpoint. */
  readonly endpoint?: string;
}

export interface OpenSession {
  readonly token: string;
  readonly buyer: Trader;
}

export interface Purchase {
  readonly serviceType?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly maxPrice?: string;
  readonly preferAgent?: string;
  /** Sent as the Idempotency-Key header. */
  readonly key?: string;
}

export interface Market {
  readonly baseUrl: string;
  ask(method: string, path: string, options?: AskOptions): Promise<Reply>;
  /** A registered agent. `funds` is decimal text; without it the agent has no money. */
  aTrader(funds?: string): Promise<Trader>;
  /** Puts a seller's service on the market. */
  offers(seller: Pick<Seller, 'endpoint' | 'name'>, offering?: Offering): Promise<Trader & { readonly serviceId: string }>;
  /** A session of a fresh buyer who has exactly its budget, unless the test names one. */
  aSession(terms?: Readonly<Record<string, unknown>>, buyer?: Trader): Promise<OpenSession>;
  /** POST /v1/gateway/proxy. */
  buy(session: OpenSession, purchase?: Purchase): Promise<Reply>;
  /** POST /v1/gateway/call. */
  buyOnce(buyer: Trader, purchase: Purchase): Promise<Reply>;
  closeSession(session: OpenSession): Promise<Reply>;
  sessionNow(session: OpenSession): Promise<Record<string, string> & { requestCount: number }>;
  /** Micros that an agent can spend now, and those that are held. */
  moneyOf(trader: { readonly address: string }): Promise<{ available: bigint; pending: bigint }>;
  /** Asks every invariant of the books; fails the test with the findings. */
  booksAreRight(options?: { readonly overdueMs?: number }): Promise<void>;
}

/** @param pool of the platform's database, for deposits and for looking behind the scenes. */
export function createMarket({ baseUrl, pool }: { readonly baseUrl: string; readonly pool: pg.Pool }): Market {
  const ask = (method: string, path: string, options?: AskOptions): Promise<Reply> => askAt(baseUrl + path, method, options);
  const must = async (status: number, reply: Promise<Reply>): Promise<Reply> => {
    const got = await reply;
    if (got.status !== status) throw new Error(`Expected ${status}, got ${got.status}: ${got.text}`);
    return got;
  };
  const aTrader = async (funds?: string): Promise<Trader> => {
    const address = anAddress();
    const { body } = await must(201, ask('POST', '/v1/agents', { body: { address, name: 'Trader' } }));
    if (funds !== undefined) await aDeposit(pool, address, funds);
    return { address, key: body.apiKey as string };
  };
  const headersOf = (purchase: Purchase): Record<string, string> => (purchase.key === undefined ? {} : { 'idempotency-key': purchase.key });
  const bodyOf = ({ serviceType = 'translation', params = { text: 'hello' }, maxPrice, preferAgent }: Purchase) =>
    ({ serviceType, params, ...(maxPrice === undefined ? {} : { maxPrice }), ...(preferAgent === undefined ? {} : { preferAgent }) });

  return {
    baseUrl, ask, aTrader,
    async offers(seller,
        { serviceType = 'translation', price = '0.10', name = seller.name, idempotent = true, refundable = false,
          maxDurationSecs, endpoint = seller.endpoint } = {}) {
      const trader = await aTrader();
      const { body } = await must(201,
        ask('POST', `/v1/agents/${trader.address}/services`,
        { key: trader.key, body: { type: serviceType, name, price, endpoint, idempotent, refundable,
          ...(maxDurationSecs === undefined ? {} : { maxDurationSecs }) } }));
      return { ...trader, serviceId: body.id as string };
    },
    async aSession(terms = {}, buyer) {
      const maxTotal = (terms['maxTotal'] as string | undefined) ?? '1.00';
      const owner = buyer ?? (await aTrader(maxTotal));
      const { body } = await must(201, ask('POST', '/v1/gateway/sessions', { key: owner.key, body: { maxTotal, ...terms } }));
      return { token: body.token as string, buyer: owner };
    },
    buy: (session, purchase = {}) =>
      ask('POST', '/v1/gateway/proxy',
        { key: session.buyer.key, headers: { 'x-gateway-token': session.token, ...headersOf(purchase) }, body: bodyOf(purchase) }),
    buyOnce: (buyer, purchase) => ask('POST', '/v1/gateway/call', { key: buyer.key, headers: headersOf(purchase), body: bodyOf(purchase) }),
    closeSession: ({ token, buyer }) => ask('DELETE', `/v1/gateway/sessions/${token}`, { key: buyer.key }),
    async sessionNow({ token, buyer }) {
      return (await must(200, ask('GET', `/v1/gateway/sessions/${token}`, { key: buyer.key }))).body.session;
    },
    moneyOf: (trader) => moneyOf(pool, trader.address),
    booksAreRight: async (options) => {
      const { findings } = await auditBooks(pool, options);
      if (findings.length > 0) throw new Error(
        `The books are wrong:\n${findings.map(({ invariant, detail }) => `${invariant}: ${detail}`).join('\n')}`);
    },
  };
}

/** Micros of an owner; zeros when the books do not know it. */
export async function moneyOf(pool: pg.Pool, owner: string, asset = 'USDC'): Promise<{ available: bigint; pending: bigint }> {
  const { rows } = await pool.query<{ available: string; pending: string }>(
    'SELECT available, pending FROM account WHERE owner = $1 AND asset = $2', [owner, asset]);
  return { available: BigInt(rows[0]?.available ?? 0), pending: BigInt(rows[0]?.pending ?? 0) };
}

/** Micros of decimal text, zero allowed. */
export function usdc(text: string): bigint {
  return /^0(\.0+)?$/.test(text) ? 0n : parseAmount(text);
}
