import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { createSellerSigner, generateSellerKey, verifySellerRequest, type Received } from '../../platform/seller-signature.ts';
import { addressOf, startApp } from '../support/app.ts';

const signer = createSellerSigner(generateSellerKey());
const seller = addressOf(7);
const now = new Date('2026-01-31T12:00:00Z');
const body = '{"text":"Grüße"}';

/** A signed request as the seller's server sees it, after `change`. */
function received(change: (request: { method: string; path: string; body: string; headers: Record<string, string> }) => void = () =>
    undefined, at = now): Received {
  const signed = signer.headersFor({ method: 'POST', path: '/work?lang=de', amount: '0.010000', from: addressOf(1), to: seller,
    ref: 'call_1', idempotencyKey: 'call_1', refundable: false, body }, at);
  const headers = Object.fromEntries(Object.entries(signed).map(([name, value]) => [name.toLowerCase(), value]));
  const request = { method: 'POST', path: '/work?lang=de', body, headers };
  change(request);
  return request;
}
const judge = (request: Received, options: Partial<Parameters<typeof verifySellerRequest>[1]> = {}) =>
  verifySellerRequest(request, { keys: [signer.publicKey], seller, now, ...options });

describe('the signature on a paid request', () => {
  test('is good for what was signed', () => {
    expect(judge(received())).toBe('ok');
  });

  test.each([
    ['another body', (request: { body: string }) => (request.body = '{"text":"Gruesse"}')],
    ['another path', (request: { path: string }) => (request.path = '/work')],
    ['another method', (request: { method: string }) => (request.method = 'PUT')],
    ...['x-payment-amount', 'x-payment-from', 'x-payment-ref', 'idempotency-key'].map((name) =>
      [`another ${name}`, (request: { headers: Record<string, string> }) => (request.headers[name] = '9.000000')] as const),
    ['a broken signature', (request: { headers: Record<string, string> }) => (request.headers['x-payment-signature'] = 'AAAA')],
  ] as const)('is bad for %s', (_, change) => {
    expect(judge(received(change as never))).toBe('bad_signature');
  });

  test('is not good for another seller, who could otherwise be sent what the first received', () => {
    expect(judge(received(), { seller: addressOf(8) })).toBe('wrong_seller');
    expect(judge(received((request) => (request.headers['x-payment-to'] = addressOf(8))), { seller: addressOf(8) })).toBe('bad_signature');
  });

  test('is good for five minutes', () => {
    const at = (secs: number) => new Date(now.getTime() + secs * 1_000);
    expect([judge(received(), { now: at(300) }), judge(received(), { now: at(-300) }), judge(received(), { now: at(301) }),
      judge(received(), { now: at(-301) })]).toEqual(['ok', 'ok', 'stale', 'stale']);
  });

  test('needs its headers and a known key', () => {
    expect(judge(received((request) => delete request.headers['x-payment-signature']))).toBe('missing_header');
    expect(judge(received(), { keys: [createSellerSigner(generateSellerKey()).publicKey] })).toBe('unknown_key');
  });

  test('outlives a change of keys as long as the old one is published', () => {
    expect(judge(received(), { keys: [createSellerSigner(generateSellerKey()).publicKey, signer.publicKey] })).toBe('ok');
  });

  test('cannot be stretched over lines', () => {
    expect(() => signer.headersFor({ method: 'POST', path: '/work', amount: '1\n2', from: '', to: '', ref: '', idempotencyKey: '',
      refundable: false, body })).toThrow(RangeError);
  });

  test('the same private key always has the same key id, and other kinds of key are refused', () => {
    const pem = generateSellerKey();
    expect(createSellerSigner(pem).publicKey).toEqual(createSellerSigner(pem).publicKey);
    expect(signer.publicKey).not.toHaveProperty('d');
    expect(() => createSellerSigner('no key')).toThrow();
  });
});

/** The page promises that this code works, so the code is taken from the page. */
const page = readFileSync(new URL('../../docs/sellers.md', import.meta.url), 'utf8');
const block = (language: string): string => new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? '';
const hasCryptography = spawnSync('python3', ['-c', 'import cryptography, requests']).status === 0;

describe('docs/sellers.md', () => {
  const inputs = JSON.stringify([received(undefined, new Date()), received((request) => (request.body = '{}'), new Date())]);

  test('the Node example believes the platform and nobody else', async () => {
    const app = await startApp({ deps: { sellerKeys: [signer.publicKey] } });
    const code = `${block('js').replace('http://127.0.0.1:8080', app.baseUrl)}
      console.log(JSON.stringify(${inputs}.map((r) =>
        isFromSurety({ method: r.method, url: r.path, headers: r.headers }, r.body, '${seller}'))));`;
    expect(await run(process.execPath, ['--input-type=module', '-e', code])).toBe('[true,false]');
    await app.close();
  });

  (hasCryptography ? test : test.skip)('the Python example too', async () => {
    const app = await startApp({ deps: { sellerKeys: [signer.publicKey] } });
    const code = `${block('python').replace('http://127.0.0.1:8080', app.baseUrl)}
import json
print([is_from_surety(r["method"], r["path"], r["headers"], r["body"].encode(), "${seller}") for r in json.loads(r'''${inputs}''')])`;
    expect(await run('python3', ['-c', code])).toBe('[True, False]');
    await app.close();
  });
});

/** What a program prints. The app under test lives in this process, so waiting must not block it. */
function run(command: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { env: { PATH: process.env['PATH'] } },
      (error, stdout, stderr) => (error === null ? resolve(stdout.trim()) : reject(new Error(stderr))));
  });
}
