/** Long calls over the HTTP of a running platform. */
import type { AskOptions, Reply } from './app.ts';
import type { Market, OpenSession, Purchase, Trader } from './market.ts';
import { eventually } from './platform-suite.ts';
import type { Seller, SellerRequest } from './sellers.ts';

type Asks = Pick<Market, 'ask'>;

/** The headers and the body of a purchase that is not waited for. */
function asyncPurchase(key: string, { key: idempotencyKey, ...purchase }: Purchase, more: Record<string, string> = {}): AskOptions {
  const keyed: Record<string, string> = idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey };
  return { key, headers: { prefer: 'respond-async', ...keyed, ...more },
    body: { serviceType: 'film', params: { scene: 1 }, ...purchase } };
}

/** POST /v1/gateway/proxy with `Prefer: respond-async`, of a film unless the test says otherwise. */
export function buyLong(market: Asks, { token, buyer }: OpenSession, purchase: Purchase = {}): Promise<Reply> {
  return market.ask('POST', '/v1/gateway/proxy', asyncPurchase(buyer.key, purchase, { 'x-gateway-token': token }));
}

/** POST /v1/gateway/call in the same way. */
export function buyLongOnce(market: Asks, buyer: Trader, purchase: Purchase & { readonly maxPrice: string }): Promise<Reply> {
  return market.ask('POST', '/v1/gateway/call', asyncPurchase(buyer.key, purchase));
}

/** A step of the seller or the buyer, with an API key. */
export function stepOf(market: Asks, { key }: Pick<Trader, 'key'>, callId: string, step: string, body: object = {}): Promise<Reply> {
  return market.ask('POST', `/v1/gateway/calls/${callId}/${step}`, { key, body });
}

/** GET /v1/gateway/calls/:id. */
export async function longCallNow(market: Asks, { key }: Pick<Trader, 'key'>, callId: string): Promise<Reply['body']> {
  const reply = await market.ask('GET', `/v1/gateway/calls/${callId}`, { key });
  if (reply.status !== 200) throw new Error(reply.text);
  return reply.body;
}

/** Waits until the call is so. */
export function longCallIs(market: Asks, who: Pick<Trader, 'key'>, callId: string, state: string,
    withinMs = 10_000): Promise<Reply['body']> {
  return eventually(async () => {
    const body = await longCallNow(market, who, callId);
    if (body.call.long.state !== state) throw new Error(`The call is ${body.call.long.state}, not ${state}: ${JSON.stringify(body)}`);
    return body;
  }, { withinMs });
}

/** The first request that the seller got, once it is there. */
export function firstRequest(seller: Pick<Seller, 'requests'>, withinMs = 10_000): Promise<SellerRequest> {
  return eventually(() => {
    const [first] = seller.requests;
    return first === undefined ? Promise.reject(new Error('The seller was not asked.')) : Promise.resolve(first);
  }, { withinMs });
}

/** Path and query of the link in a request, with another step. */
export function linkIn(request: SellerRequest, step = 'complete'): string {
  const { pathname, search } = new URL(String(request.headers['x-payment-complete']));
  return pathname.replace(/complete$/, step) + search;
}
