import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createTrust } from '../../demo/sellers/trust.ts';
import { createSellerSigner, generateSellerKey } from '../../platform/seller-signature.ts';
import { createShop, type Shop, type SignatureCheck } from '../../demo/sellers/shop.ts';
import { desks } from '../../demo/sellers/desks.ts';

const paid = { 'x-payment-amount': '0.02', 'x-payment-from': '0x00000000000000000000000000000000000000aa',
  'content-type': 'application/json' };

describe('a seller of the demo', () => {
  let shop: Shop;
  let url: string;
  let signature: SignatureCheck = () => Promise.resolve(true);

  beforeAll(async () => {
    let counted = 0;
    shop = createShop(
      [
        { path: '/count', price: '0.02', work: () => ({ counted: (counted += 1) }) },
        { path: '/slow', price: '0.01', work: () => ({ counted: (counted += 1) }), delayMs: 60 },
        { path: '/broken', price: '0.01', work: () => ({}), broken: true },
        { path: '/picky', price: '0.01', work: () => { throw new RangeError('Not that.'); } },
      ],
      (received) => signature(received),
    );
    await new Promise<void>((resolve) => shop.server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(shop.server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    shop.server.closeAllConnections();
    await new Promise((resolve) => shop.server.close(resolve));
  });

  async function order(path: string, headers: Record<string, string> = {}, body = '{}') {
    const response = await fetch(url + path, { method: 'POST', headers: { ...paid, ...headers }, body });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  test('answers a repeated key with the first result and works once', async () => {
    const first = await order('/count', { 'idempotency-key': 'call_1' });
    const second = await order('/count', { 'idempotency-key': 'call_1' });
    expect(first.status).toBe(200);
    expect(second).toEqual(first);
    expect(shop.jobs.find((job) => job.idempotencyKey === 'call_1'))
      .toMatchObject({ requests: 2, worked: 1, amount: '0.02', paidBy: paid['x-payment-from'] });
  });

  test('lets a second request with the key wait for work that is under way', async () => {
    const [first, second] =
      await Promise.all([order('/slow', { 'idempotency-key': 'call_2' }), order('/slow', { 'idempotency-key': 'call_2' })]);
    expect(second).toEqual(first);
    expect(shop.jobs.find((job) => job.idempotencyKey === 'call_2')).toMatchObject({ requests: 2, worked: 1 });
  });

  test('finishes work although the caller has gone', async () => {
    const impatient = new AbortController();
    const gone = fetch(`${url}/slow`,
      { method: 'POST', headers: { ...paid, 'idempotency-key': 'call_3' }, body: '{}', signal: impatient.signal });
    setTimeout(() => impatient.abort(), 20);
    await expect(gone).rejects.toThrow();
    expect((await order('/slow', { 'idempotency-key': 'call_3' })).status).toBe(200);
    expect(shop.jobs.find((job) => job.idempotencyKey === 'call_3')).toMatchObject({ requests: 2, worked: 1 });
  });

  test('refuses a key that comes with another request', async () => {
    await order('/count', { 'idempotency-key': 'call_4' }, '{"a":1}');
    expect((await order('/count', { 'idempotency-key': 'call_4' }, '{"a":2}')).status).toBe(422);
  });

  test('is a stranger to the other sellers: the same key means nothing to them', async () => {
    await order('/count', { 'idempotency-key': 'call_5' }, '{"a":1}');
    expect((await order('/slow', { 'idempotency-key': 'call_5' }, '{"a":2}')).status).toBe(200);
  });

  test.each([
    ['less than the price', '0.019999'], ['no number', 'much'], ['nothing', ''], ['zero', '0.00'],
  ])('does not work for %s', async (_, amount) => {
    expect((await order('/count', { 'x-payment-amount': amount })).status).toBe(402);
  });

  test('does not work for a request that is not signed by the platform', async () => {
    signature = () => Promise.resolve(false);
    expect((await order('/count')).status).toBe(401);
    signature = () => Promise.resolve(true);
  });

  test.each([
    ['a broken desk', '/broken', '{}', 500], ['parameters the work refuses', '/picky', '{}', 422], ['broken JSON', '/count', '{', 422],
    ['a list instead of an object', '/count', '[]', 422], ['an unknown path', '/nothing', '{}', 404],
    ['a body beyond 2 MiB', '/count', `"${'x'.repeat(2_200_000)}"`, 413],
  ])('answers %s with an error', async (_, path, body, status) => {
    expect((await order(path, {}, body)).status).toBe(status);
  });
});

describe('the trust of a seller', () => {
  const seller = '0x00000000000000000000000000000000000000b1';
  const other = '0x00000000000000000000000000000000000000b2';
  const signer = createSellerSigner(generateSellerKey());
  let platform: Server;
  let platformUrl: string;
  let asked = 0;
  beforeAll(async () => {
    platform = createServer((_, response) => {
      asked += 1;
      response.end(JSON.stringify({ keys: [signer.publicKey] }));
    });
    await new Promise<void>((resolve) => platform.listen(0, '127.0.0.1', resolve));
    platformUrl = `http://127.0.0.1:${(platform.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    platform.closeAllConnections();
    await new Promise((resolve) => platform.close(resolve));
  });

  function aRequest(to = seller, by = signer) {
    const signed = by.headersFor({ method: 'POST', path: '/count', amount: '0.020000', from: other, to, ref: 'call_1',
      idempotencyKey: 'call_1', refundable: false, body: '{}' });
    return { method: 'POST', path: '/count', body: '{}',
      headers: Object.fromEntries(Object.entries(signed).map(([name, value]) => [name.toLowerCase(), value])) };
  }

  test('believes the platform, and asks for its keys once', async () => {
    const trust = createTrust();
    trust.introduce({ platformUrl, addresses: { '/count': seller } });
    expect(await trust.check(aRequest())).toBe(true);
    expect(await trust.check(aRequest())).toBe(true);
    expect(asked).toBe(1);
  });

  test.each([
    ['a request meant for another seller', () => aRequest(other)],
    ['a request signed by somebody else', () => aRequest(seller, createSellerSigner(generateSellerKey()))],
    ['a request whose body was changed', () => ({ ...aRequest(), body: '{"more":true}' })],
    ['a request to a path that is nobody\'s', () => ({ ...aRequest(), path: '/elsewhere' })],
    ['a request without a signature', () => ({ ...aRequest(), headers: {} })],
  ])('does not believe %s', async (_, request) => {
    const trust = createTrust();
    trust.introduce({ platformUrl, addresses: { '/count': seller } });
    expect(await trust.check(request())).toBe(false);
  });

  test('believes nobody before it has been introduced', async () => {
    expect(await createTrust().check(aRequest())).toBe(false);
  });
});

describe('the catalogue of the demo', () => {
  test('refuses parameters of the wrong kind, for every seller', () => {
    for (const desk of desks.filter((one) => one.broken !== true)) {
      expect(() => desk.work({})).toThrow(TypeError);
    }
    const chart = desks.find((desk) => desk.path === '/chart-studio');
    expect(() => chart?.work({ title: 'x', points: [null] })).toThrow(TypeError);
  });
});
