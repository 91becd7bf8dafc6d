/** Which sellers are asked, and in which order; a table over the pure rule, and once each over HTTP. */
import { sessionBounds, strategies, type Offer, type Strategy } from '../../domain/gateway.ts';
import { micros, parseAmount } from '../../domain/money.ts';
import { CANDIDATES_MAX, rankOffers, type Wish } from '../../domain/ranking.ts';
import { addressOf } from '../support/app.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

/** Offers in the catalogue's order, cheapest first: name, price, score, tier. */
function aMarket(...rows: readonly (readonly [name: string, price: string, score?: number, tier?: Offer['tier']])[]): Offer[] {
  return rows.map(([name, price, score = 0, tier = 'new'], index) => ({
    serviceId: name, serviceName: name, serviceType: 'x', seller: addressOf(index + 1), endpoint: 'http://127.0.0.1:9/',
    priceMicros: parseAmount(price), idempotent: true, maxDurationSecs: null, refundable: name === 'middle' || name === 'dear', score, tier,
  }));
}

const market = aMarket(['cheap', '0.10', 10], ['middle', '0.20', 60, 'established'], ['fine', '0.50', 90, 'trusted'],
  ['dear', '1.00', 100, 'elite']);
const wish = (change: Partial<Wish> = {}): Wish =>
  ({ buyer: addressOf(99), strategy: 'cheapest', priceMicrosMax: parseAmount('10'), preferAgent: null, budgetUsed: 0, ...change });
const names = (offers: readonly Offer[]): string[] => offers.map((offer) => offer.serviceId);

test.each<[Strategy, Partial<Wish>, string[]]>([
  ['cheapest', {}, ['cheap', 'middle', 'fine']],
  ['tracerank', {}, ['cheap', 'middle', 'fine']],
  // 90 boosted by 1.375 and 100 by 1.5 both meet the cap of 100; then the cheaper one is first.
  ['reputation', {}, ['fine', 'dear', 'middle']],
  // score^0.65 × (1/price)^0.35: middle 75 at 0.20, fine 100 at 0.50, dear 100 at 1.00, cheap 10 at 0.10.
  ['best_value', {}, ['middle', 'fine', 'dear']],
  ['budget', { budgetUsed: 0 }, ['fine', 'middle', 'dear']],
  ['budget', { budgetUsed: 1 }, ['middle', 'cheap', 'fine']],
  ['budget', { budgetUsed: 7 }, ['middle', 'cheap', 'fine']],
  ['cheapest', { priceMicrosMax: parseAmount('0.20') }, ['cheap', 'middle']],
  ['reputation', { priceMicrosMax: parseAmount('0.20') }, ['middle', 'cheap']],
  ['cheapest', { priceMicrosMax: micros(1) }, []],
  ['cheapest', { buyer: addressOf(1) }, ['middle', 'fine', 'dear']],
  ['cheapest', { preferAgent: addressOf(4) }, ['dear', 'cheap', 'middle']],
  ['reputation', { preferAgent: addressOf(1) }, ['cheap', 'fine', 'dear']],
  ['cheapest', { preferAgent: addressOf(4), priceMicrosMax: parseAmount('0.50') }, ['cheap', 'middle', 'fine']],
  ['cheapest', { refundableOnly: true }, ['middle', 'dear']],
  ['reputation', { refundableOnly: true, preferAgent: addressOf(1) }, ['dear', 'middle']],
  ['cheapest', { preferAgent: addressOf(50) }, ['cheap', 'middle', 'fine']],
  ['cheapest', { preferAgent: addressOf(1), buyer: addressOf(1) }, ['middle', 'fine', 'dear']],
])('%s with %j asks %j', (strategy, change, expected) => {
  expect(names(rankOffers(market, wish({ strategy, ...change })))).toEqual(expected);
});

test('every strategy asks at most three sellers, never the buyer itself, and works on an empty market', () => {
  const many = aMarket(...Array.from({ length: 40 }, (_, n) => [`s${n}`, (0.1 + n / 100).toFixed(2), (n * 37) % 100] as const));
  for (const strategy of strategies) {
    expect(rankOffers([], wish({ strategy }))).toEqual([]);
    const chosen = rankOffers(many, wish({ strategy, buyer: addressOf(1) }));
    expect(chosen).toHaveLength(CANDIDATES_MAX);
    expect(chosen.map((offer) => offer.seller)).not.toContain(addressOf(1));
  }
});

test('a good seller beyond the cheapest ten is found by reputation', () => {
  const many = aMarket(...Array.from({ length: 30 }, (_, n) => [`s${n}`, (0.1 + n / 100).toFixed(2), n === 29 ? 99 : 1] as const));
  expect(names(rankOffers(many, wish({ strategy: 'reputation' })))[0]).toBe('s29');
});

describe('over HTTP', () => {
  const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway' });

  test('sellers that fail are passed over in the order of the strategy, and only the one that delivered is paid', async () => {
    const [first, second, third] =
      await Promise.all([seller('First', { kind: 'status', status: 500 }), seller('Second', { kind: 'reset' }), seller('Third')]);
    const offers = [await platform().offers(first, { price: '0.10', idempotent: false }),
      await platform().offers(second, { price: '0.20', idempotent: false }), await platform().offers(third, { price: '0.30' })];
    const session = await platform().aSession();
    const { status, body } = await platform().buy(session);
    expect([status, body.serviceName, body.amountPaid, body.retries]).toEqual([200, 'Third', '0.300000', 2]);
    expect([first, second, third].map(({ requests }) => requests.length)).toEqual([1, 1, 1]);
    const paid = await Promise.all(offers.map((offer) => platform().moneyOf(offer)));
    expect(paid.map(({ available }) => available)).toEqual([0n, 0n, 300_000n]);
    const { body: { call } } = await platform().ask('GET', `/v1/gateway/calls/${body.callId}`, { key: session.buyer.key });
    expect(call.attempts.map((attempt: { outcome: string }) => attempt.outcome)).toEqual(['error_answer', 'reset', 'delivered']);
  });

  test('preferAgent is asked first although it is dearer, and the others stand in when it fails', async () => {
    const [cheap, liked] = await Promise.all([seller('Cheap'), seller('Liked')]);
    await platform().offers(cheap, { price: '0.10' });
    const { address } = await platform().offers(liked, { price: '0.40' });
    const session = await platform().aSession();
    expect((await platform().buy(session, { preferAgent: address.toUpperCase().replace('0X', '0x') })).body.serviceName).toBe('Liked');
    liked.behave({ kind: 'status', status: 503 });
    expect((await platform().buy(session, { preferAgent: address })).body)
      .toMatchObject({ serviceName: 'Cheap', retries: 1, amountPaid: '0.100000' });
  });

  test('a failover to a dearer seller that the budget does not allow is not made', async () => {
    const [broken, dear] = await Promise.all([seller('Broken', { kind: 'status', status: 500 }), seller('Dear')]);
    await platform().offers(broken, { price: '0.10' });
    await platform().offers(dear, { price: '0.90' });
    const session = await platform().aSession({ maxTotal: '0.50', maxPerRequest: '1.00' });
    const { status, body } = await platform().buy(session);
    expect([status, body.error]).toEqual([502, 'proxy_failed']);
    expect(dear.requests).toHaveLength(0);
    expect(await platform().sessionNow(session)).toMatchObject({ remaining: '0.500000', reserved: '0.000000' });
  });

  test('a type outside allowedTypes, an unknown type and a limit below every price find no service, and the log says so', async () => {
    await platform().offers(await seller(), { serviceType: 'translation', price: '0.20' });
    const session = await platform().aSession({ allowedTypes: ['summary', 'translation'] });
    const refused = [
      await platform().buy(session, { serviceType: 'painting' }),
      await platform().buy(session, { serviceType: 'summary' }),
      await platform().buy(session, { maxPrice: '0.199999' }),
    ];
    expect(refused.map(({ status, body }) => [status, body.error, body.funds_status]))
      .toEqual(Array(3).fill([404, 'no_service', 'no_change']));
    expect(new Set(refused.map(({ body }) => body.message)).size).toBe(3);
    const { body } = await platform().ask('GET', `/v1/gateway/sessions/${session.token}/logs`, { key: session.buyer.key });
    expect(body.logs).toMatchObject([{ status: 'no_service', times: 3, error: refused[2]?.body.message, attempts: [] }]);
    expect((await platform().buy(session)).status).toBe(200);
  });

  test('a session of each strategy buys', async () => {
    await platform().offers(await seller(), { price: '0.01' });
    for (const strategy of [...strategies, 'no-such-strategy']) {
      const session = await platform().aSession({ strategy, expiresInSecs: sessionBounds.expirySecsMin });
      expect((await platform().buy(session)).status).toBe(200);
      expect((await platform().sessionNow(session))['strategy']).toBe(strategy === 'no-such-strategy' ? 'cheapest' : strategy);
    }
  });
});
