import net from 'node:net';
import dns from 'node:dns';
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { createAddressGuard } from '../../platform/address-guard.ts';
import { createLog } from '../../platform/log.ts';
import { createOutbound, type Outbound, type OutboundResult } from '../../platform/outbound.ts';
import { freePort } from '../../platform/ports.ts';
import { startSeller, type Seller } from '../support/sellers.ts';

const log = createLog('silent', 'test');
let seller: Seller;
let outbound: Outbound;

beforeAll(async () => {
  seller = await startSeller('word-counter');
  outbound = createOutbound({ allowLocal: true, log });
});
afterAll(async () => {
  await outbound.close();
  await seller.close();
});
afterEach(() => seller.behave({ kind: 'ok' }));

const ask = (change: Partial<Parameters<Outbound['postJson']>[0]> = {}): Promise<OutboundResult> =>
  outbound.postJson({ url: seller.endpoint, body: '{"text":"hello"}', timeoutMs: 500, ...change });

describe('what a seller may do', () => {
  test('a good answer comes back with its status and text, and our headers arrived', async () => {
    const result = await ask({ headers: { 'Idempotency-Key': 'call_1', 'X-Payment-Amount': '0.010000' } });
    expect(result).toMatchObject({ tag: 'answered', status: 200, bodyText: '{"output":{"text":"hello"},"seller":"word-counter"}' });
    expect(seller.requestsFor('call_1'))
      .toMatchObject([{ method: 'POST', path: '/work',
      headers: { 'x-payment-amount': '0.010000', 'content-type': 'application/json', 'accept-encoding': 'identity' } }]);
  });

  test.each([400, 402, 404, 429, 500, 503])('status %i is an answer, not a failure of the connection', async (status) => {
    seller.behave({ kind: 'status', status });
    expect(await ask()).toMatchObject({ tag: 'answered', status });
  });

  test('an answer that is late ends as timeout when the time is up, and the seller may have worked', async () => {
    seller.behave({ kind: 'slow', ms: 15_000 });
    const startedAt = Date.now();
    expect(await ask({ timeoutMs: 150 })).toMatchObject({ tag: 'timeout', maySellerHaveWorked: true });
    expect(Date.now() - startedAt).toBeLessThan(10_000);
  });

  test.each([
    [{ kind: 'hang' }, 'timeout', true],
    [{ kind: 'drip', everyMs: 20 }, 'timeout', true],
    [{ kind: 'reset' }, 'reset', true],
    [{ kind: 'cut' }, 'reset', true],
    [{ kind: 'huge', bytes: 10 * 1024 * 1024 }, 'too_large', true],
    [{ kind: 'redirect', to: 'http://127.0.0.1:1/' }, 'redirect', false],
    [{ kind: 'text', text: 'x', headers: { 'content-encoding': 'gzip' } }, 'bad_encoding', true],
  ] as const)('%j ends as %s', async (behaviour, tag, maySellerHaveWorked) => {
    seller.behave(behaviour);
    expect(await ask()).toMatchObject({ tag, maySellerHaveWorked });
  });

  test('a redirect is not followed even to a good place', async () => {
    const elsewhere = await startSeller('elsewhere');
    seller.behave({ kind: 'redirect', to: elsewhere.endpoint });
    expect((await ask()).tag).toBe('redirect');
    expect(elsewhere.requests).toHaveLength(0);
    await elsewhere.close();
  });

  test('an announced length above the limit is refused before it is read', async () => {
    seller.behave({ kind: 'text', text: 'x'.repeat(2_000) });
    expect(await ask({ maxBytes: 1_000 })).toMatchObject({ tag: 'too_large' });
    expect(await ask({ maxBytes: 2_000 })).toMatchObject({ tag: 'answered' });
  });

  test('bytes that are not UTF-8 are refused, a byte order mark is dropped', async () => {
    const server = net.createServer((socket) =>
      socket.once('data', () =>
      socket.end(Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n'), Buffer.from([0xc3, 0x28])]))));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as net.AddressInfo;
    expect(await ask({ url: `http://127.0.0.1:${port}/` })).toMatchObject({ tag: 'bad_encoding' });
    server.close();
    seller.behave({ kind: 'text', text: '\ufeff{"a":1}' });
    expect(await ask()).toMatchObject({ tag: 'answered', bodyText: '{"a":1}' });
  });

  test('nonsense instead of HTTP ends as reset', async () => {
    const server = net.createServer((socket) => socket.once('data', () => socket.end('SSH-2.0-hello\r\n')));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as net.AddressInfo;
    expect(await ask({ url: `http://127.0.0.1:${port}/` })).toMatchObject({ tag: 'reset' });
    server.close();
  });

  test('a closed port is a connect error, and the seller certainly did nothing', async () => {
    const port = await freePort();
    expect(await ask({ url: `http://127.0.0.1:${port}/` })).toMatchObject({ tag: 'connect_error', maySellerHaveWorked: false });
  });

  test('who gives up gets `aborted`; giving up before the start sends nothing', async () => {
    seller.behave({ kind: 'hang' });
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    expect(await ask({ signal: controller.signal })).toMatchObject({ tag: 'aborted', maySellerHaveWorked: true });
    const before = seller.requests.length;
    expect(await ask({ signal: AbortSignal.abort() })).toMatchObject({ tag: 'aborted', maySellerHaveWorked: false });
    expect(seller.requests).toHaveLength(before);
  });

  test('connections are kept: twenty calls in a row do not open twenty', async () => {
    const ports = new Set<number | undefined>();
    const keeper = await startSeller('keeper');
    const client = createOutbound({ allowLocal: true, log });
    for (let call = 0; call < 20; call += 1) await client.postJson({ url: keeper.endpoint, body: '{}', timeoutMs: 500 });
    expect(keeper.requests).toHaveLength(20);
    for (const request of keeper.requests) ports.add(request.port);
    await client.close();
    await keeper.close();
    // The second call begins in the moment the first one ends, before its connection is free again.
    expect(ports.size).toBeLessThanOrEqual(2);
  });

  test('a header that would smuggle another is not sent', async () => {
    const before = seller.requests.length;
    expect(await ask({ headers: { 'X-Payment-Ref': 'a\r\nX-Evil: 1' } }))
      .toMatchObject({ tag: 'connect_error', maySellerHaveWorked: false });
    expect(seller.requests).toHaveLength(before);
  });
});

const refusedEverywhere = [
  'http://169.254.169.254/latest', 'http://[fe80::1]/', 'http://0.0.0.0/', 'http://[::]/', 'http://224.0.0.1/', 'http://[ff02::1]/',
  'http://255.255.255.255/',
  'http://100.64.0.1/', 'http://100.100.100.200/', 'http://[fd00:ec2::254]/', 'http://[64:ff9b::7f00:1]/',
  'http://[2002:7f00:1::]/', 'http://[::7f00:1]/',
  'http://[fec0::1]/', 'http://192.0.2.1/', 'http://240.0.0.1/', 'http://[::ffff:a9fe:a9fe]/',
  'ftp://127.0.0.1/', 'file:///etc/passwd', 'javascript:alert(1)', 'http://user:secret@example.com/', 'http://', '/work', '',
  'http://exa mple.com/', `http://example.com/${'x'.repeat(2_000)}`,
];
const refusedInProduction = [
  'http://127.0.0.1/', 'http://127.1/', 'http://2130706433/', 'http://0x7f.0.0.1/', 'http://0177.0.0.1/', 'http://[::1]/',
  'http://[::ffff:127.0.0.1]/',
  'http://10.0.0.1/', 'http://172.16.0.1/', 'http://192.168.1.1/', 'http://[fd12::1]/', 'http://localhost/',
  'http://localhost./', 'http://LOCALHOST:8080/',
  'http://api.localhost/', 'http://metadata.google.internal/', 'http://①②⑦.0.0.1/',
];

describe('where Surety does not call', () => {
  const strict = createOutbound({ allowLocal: false, log });
  afterAll(() => strict.close());

  test.each([...refusedEverywhere, ...refusedInProduction])('%s is refused at registration and at the call', async (url) => {
    await expect(strict.checkUrl(url)).rejects.toMatchObject({ code: 'invalid_endpoint' });
    expect(await strict.postJson({ url, body: '{}', timeoutMs: 500 }))
      .toMatchObject({ tag: 'refused_address', maySellerHaveWorked: false });
  });

  test.each(refusedEverywhere)('%s is refused even where local sellers are allowed', async (url) => {
    await expect(outbound.checkUrl(url)).rejects.toMatchObject({ code: 'invalid_endpoint' });
  });

  test.each(['http://127.0.0.1:8080/work', 'http://[::1]/', 'http://10.1.2.3/', 'http://localhost:3000/'])(
      '%s is fine where local sellers are allowed', async (url) => {
    await expect(outbound.checkUrl(url)).resolves.toBeDefined();
  });

  test.each(['https://8.8.8.8/work', 'https://[2606:4700::1111]/'])('%s is fine everywhere', async (url) => {
    await expect(strict.checkUrl(url)).resolves.toBeDefined();
  });

  test('a name that was good when registered and is local when called leads nowhere (DNS rebinding)', async () => {
    const answers = [[{ address: '93.184.215.14', family: 4 }], [{ address: '127.0.0.1', family: 4 }]];
    const lookup = jest.spyOn(dns, 'lookup')
      .mockImplementation(((_: string, __: unknown, callback: (error: null, found: unknown) => void) =>
      callback(null, answers.shift())) as never);
    await expect(strict.checkUrl(`http://shop.example:${seller.port}/work`)).resolves.toBeDefined();
    const before = seller.requests.length;
    expect(await strict.postJson({ url: `http://shop.example:${seller.port}/work`, body: '{}', timeoutMs: 500 }))
      .toMatchObject({ tag: 'refused_address' });
    expect(seller.requests).toHaveLength(before);
    lookup.mockRestore();
  });

  test('one local address among public ones refuses the name', async () => {
    const found = [{ address: '93.184.215.14', family: 4 }, { address: '::1', family: 6 }];
    const lookup = jest.spyOn(dns, 'lookup')
      .mockImplementation(((_: string, __: unknown, callback: (error: null, all: unknown) => void) =>
      callback(null, found)) as never);
    await expect(strict.checkUrl('http://mixed.example/')).rejects.toMatchObject({ code: 'invalid_endpoint' });
    lookup.mockRestore();
  });

  test('the guard sees through IPv4 inside IPv6', () => {
    const guard = createAddressGuard({ allowLocal: false });
    expect(['::ffff:10.0.0.1', '::ffff:127.0.0.1', 'not an address', ''].map((ip) => guard.allows(ip)))
      .toEqual([false, false, false, false]);
    expect(guard.allows('::ffff:8.8.8.8')).toBe(true);
  });
});
