/** Every way a seller can fail has its own clear sentence, and none of them costs the buyer anything or keeps its money. */
import type { Behaviour } from '../support/sellers.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

const { platform, seller } =
  createPlatformSuite({ WORKER_QUEUES: 'gateway', SELLER_TIMEOUT: '700ms', CB_THRESHOLD: '3', CB_DURATION: '2s' });

const failures: readonly [what: string, behaviour: Behaviour, reason: RegExp, outcome: string, idempotent?: boolean][] = [
  ['never answers', { kind: 'hang' }, /did not answer in time/, 'timeout'],
  ['answers after its time', { kind: 'slow', ms: 1_500 }, /did not answer in time/, 'timeout'],
  ['sends one byte now and then', { kind: 'drip', everyMs: 50 }, /did not answer in time/, 'timeout'],
  ['answers 500', { kind: 'status', status: 500 }, /answered with HTTP 500/, 'error_answer'],
  ['answers 404', { kind: 'status', status: 404 }, /answered with HTTP 404/, 'error_answer'],
  ['redirects', { kind: 'redirect', to: 'http://127.0.0.1:9/elsewhere' }, /redirect, which is not followed/, 'redirect'],
  ['answers 10 MB', { kind: 'huge', bytes: 10 * 1024 * 1024 }, /more than 5 MiB/, 'too_large'],
  ['resets the connection', { kind: 'reset' }, /ended the connection before/, 'reset', false],
  ['closes in the middle of its answer', { kind: 'cut' }, /ended the connection before/, 'reset', false],
];

test.each(failures)('a seller that %s is named with the reason, and the money is where it was',
    async (_what, behaviour, reason, outcome, idempotent = true) => {
  const bad = await seller('Shady', behaviour);
  const offer = await platform().offers(bad, { price: '0.40', idempotent });
  const session = await platform().aSession({ maxTotal: '1.00' });
  const { status, body } = await platform().buy(session);
  expect([status, body.error, body.code, body.funds_status]).toEqual([502, 'proxy_failed', 'proxy_failed', 'no_change']);
  expect(body.message).toMatch(/Shady/);
  expect(body.message).toMatch(reason);
  expect(body.recovery).toEqual(expect.any(String));
  expect(await platform().sessionNow(session))
    .toMatchObject({ totalSpent: '0.000000', remaining: '1.000000', reserved: '0.000000', requestCount: 0 });
  expect((await platform().moneyOf(offer)).available).toBe(0n);
  expect((await platform().closeSession(session)).body.totalRefunded).toBe('1.000000');
  expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc('1.00'), pending: 0n });
  const { body: { logs } } = await platform().ask('GET', `/v1/gateway/sessions/${session.token}/logs`, { key: session.buyer.key });
  expect(logs[0]).toMatchObject({ status: 'forward_failed', amount: '0', attempts: [{ outcome, seller: offer.address }] });
  expect(logs[0].error).toMatch(reason);
});

test('a seller that is gone is said to be unreachable', async () => {
  const gone = await seller('Gone');
  await platform().offers(gone);
  await gone.close();
  const { status, body } = await platform().buy(await platform().aSession());
  expect([status, body.error]).toEqual([502, 'proxy_failed']);
  expect(body.message).toMatch(/Gone could not be reached/);
});

test.each([
  ['plain text', 'just words', { raw: 'just words' }],
  ['a JSON list', '[1,2]', { raw: '[1,2]' }],
  ['a JSON number', '7', { raw: '7' }],
  ['broken JSON', '{"a":', { raw: '{"a":' }],
  ['a NUL', 'a\u0000b', { raw: 'a\u0000b' }],
  ['an escaped NUL and half a character', '{"a":"\\u0000\\ud800"}', { a: '\u0000\ud800' }],
  ['nothing', '', null],
])('an answer that is %s is delivered, paid and replayed as it came', async (_what, text, expected) => {
  const odd = await seller('Odd', { kind: 'text', text });
  const offer = await platform().offers(odd, { price: '0.10' });
  const session = await platform().aSession();
  const first = await platform().buy(session, { key: 'odd' });
  const again = await platform().buy(session, { key: 'odd' });
  expect([first.status, first.body.response, again.body.response]).toEqual([200, expected, expected]);
  expect((await platform().moneyOf(offer)).available).toBe(usdc('0.10'));
});

test('an idempotent seller whose kept connection broke is asked once more with the same key, and paid once', async () => {
  const flaky = await seller('Flaky');
  const offer = await platform().offers(flaky, { price: '0.10' });
  const session = await platform().aSession();
  flaky.behaveOnce({ kind: 'reset' });
  const { status, body } = await platform().buy(session);
  expect([status, body.retries]).toEqual([200, 0]);
  expect(flaky.requestsFor(body.callId)).toHaveLength(2);
  expect((await platform().moneyOf(offer)).available).toBe(usdc('0.10'));
});

test('a seller that fails three times in a row is left alone, and asked again after a while', async () => {
  const ill = await seller('Ill', { kind: 'status', status: 500 });
  await platform().offers(ill);
  const session = await platform().aSession();
  for (let n = 0; n < 3; n += 1) await platform().buy(session);
  const { body } = await platform().buy(session);
  expect(body.message).toMatch(/Ill failed several times in a row/);
  expect(ill.requests).toHaveLength(3);
  ill.behave({ kind: 'ok' });
  const reply = await eventually(async () => {
    const tried = await platform().buy(session);
    expect(tried.status).toBe(200);
    return tried;
  }, { everyMs: 200 });
  expect(reply.body.serviceName).toBe('Ill');
  expect((await platform().buy(session)).status).toBe(200);
});

test('a half-open seller that fails its trial is left alone again', async () => {
  const ill = await seller('Ill', { kind: 'status', status: 500 });
  await platform().offers(ill);
  const session = await platform().aSession();
  for (let n = 0; n < 3; n += 1) await platform().buy(session);
  await eventually(async () => {
    await platform().buy(session);
    expect(ill.requests).toHaveLength(4);
  }, { everyMs: 100 });
  expect((await platform().buy(session)).body.message).toMatch(/left alone/);
  expect(ill.requests).toHaveLength(4);
});

test('a seller that is not asked because it failed before does not stop the next one', async () => {
  const [ill, good] = await Promise.all([seller('Ill', { kind: 'status', status: 500 }), seller('Good')]);
  await platform().offers(ill, { price: '0.10' });
  await platform().offers(good, { price: '0.20' });
  const session = await platform().aSession({ maxTotal: '5.00' });
  for (let n = 0; n < 5; n += 1) expect((await platform().buy(session)).body.serviceName).toBe('Good');
  expect(ill.requests).toHaveLength(3);
});
