/** Sellers of long calls that cannot be reached, say no, break off, or are not asked; and what they may see. */
import { buyLong, longCallIs, longCallNow, stepOf } from '../support/long-calls.ts';
import { usdc } from '../support/market.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import type { Behaviour } from '../support/sellers.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway', SELLER_TIMEOUT: '1500ms' });

const later: Behaviour = { kind: 'status', status: 202 };

/** Sellers of films, each dearer than the one before, with an hour each. */
async function sellers(behaviours: readonly Behaviour[], idempotent = true) {
  const studios = await Promise.all(behaviours.map((behaviour, n) => seller(`Studio ${n}`, behaviour)));
  const owners = [];
  for (const [n, studio] of studios.entries()) {
    owners.push(await platform().offers(studio, { serviceType: 'film', price: `0.${n + 1}0`, maxDurationSecs: 3_600, idempotent }));
  }
  return { studios, owners, session: await platform().aSession() };
}
type Step = { readonly step: string; readonly data: { readonly seller?: string } };

test('a seller that says no, and one that cannot be reached, give way to the next, before anything has begun', async () => {
  const { studios, owners, session } = await sellers([{ kind: 'status', status: 503 }, { kind: 'ok' }, later]);
  await studios[1]?.close();
  const { callId } = (await buyLong(platform(), session)).body;
  const { call, events } = await longCallIs(platform(), session.buyer, callId, 'begun');
  expect(call).toMatchObject({ agentCalled: owners[2]?.address,
    attempts: [{ outcome: 'error_answer', httpStatus: 503 }, { outcome: 'connect_error' }] });
  expect(events.map(({ step }: Step) => step)).toEqual(['accepted', 'asked', 'failed_over', 'asked', 'failed_over', 'asked', 'begun']);
  expect(await platform().sessionNow(session)).toMatchObject({ reserved: '0.300000' });
  for (const owner of owners.slice(0, 2)) expect((await stepOf(platform(), owner, callId, 'complete', { result: {} })).status).toBe(403);
  const last = owners[2] as (typeof owners)[number];
  // A seller sees neither the session nor other sellers.
  const seen = await longCallNow(platform(), last, callId);
  expect([seen.call.sessionId, seen.call.attempts, seen.call.response]).toEqual([undefined, [], null]);
  expect(seen.events.map(({ data }: Step) => data.seller).filter((one: unknown) => one !== undefined && one !== last.address)).toEqual([]);
  await stepOf(platform(), last, callId, 'complete', { result: { ok: true } });
  expect((await platform().moneyOf(last)).available).toBe(usdc('0.30'));
}, 20_000);

test('when nobody takes it, the money is back at once', async () => {
  const { session } = await sellers([{ kind: 'status', status: 500 }, { kind: 'status', status: 404 }]);
  const { callId } = (await buyLong(platform(), session)).body;
  const { call, events } = await longCallIs(platform(), session.buyer, callId, 'released');
  expect([call.error, events.at(-1).step]).toEqual(['Studio 1 answered with HTTP 404.', 'given_up']);
  expect(await platform().sessionNow(session)).toMatchObject({ remaining: '1.000000' });
});

test.each<[string, Behaviour]>([['broke the connection', { kind: 'reset' }], ['did not answer in time', { kind: 'hang' }]])(
    'a seller that %s is waited for and not asked twice, where it does not promise to work once', async (_, behaviour) => {
  const { studios, owners, session } = await sellers([behaviour, { kind: 'ok' }], false);
  const { callId } = (await buyLong(platform(), session)).body;
  const { call } = await eventually(async () => {
    const body = await longCallNow(platform(), session.buyer, callId);
    expect(body.events.map(({ step }: Step) => step)).toEqual(['accepted', 'asked', 'answer_lost']);
    return body;
  });
  expect(call.long.state).toBe('asking');
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect(studios.map(({ requests }) => requests.length)).toEqual([1, 0]);
  expect((await stepOf(platform(), owners[0] as (typeof owners)[number], callId, 'complete', { result: { done: 1 } })).status).toBe(200);
  expect((await longCallNow(platform(), session.buyer, callId)).call).toMatchObject({ status: 'success', response: { done: 1 } });
}, 20_000);

test('a seller that works once for one key is asked again until it has answered', async () => {
  const { studios, session } = await sellers([later, { kind: 'ok' }]);
  studios[0]?.behaveOnce({ kind: 'reset' }, { kind: 'reset' });
  const { callId } = (await buyLong(platform(), session)).body;
  const { events } = await longCallIs(platform(), session.buyer, callId, 'begun', 15_000);
  expect(events.map(({ step }: Step) => step))
    .toEqual(['accepted', 'asked', 'answer_lost', 'asked_again', 'answer_lost', 'asked_again', 'begun']);
  expect(new Set(studios[0]?.requests.map(({ idempotencyKey }) => idempotencyKey))).toEqual(new Set([callId]));
  expect(studios[1]?.requests).toEqual([]);
}, 30_000);

test('a session with a long call under way is closed to others, and ends with that call', async () => {
  const { owners, session } = await sellers([later]);
  const { callId } = (await buyLong(platform(), session)).body;
  await longCallIs(platform(), session.buyer, callId, 'begun');
  expect((await platform().closeSession(session)).body).toMatchObject({ stillReserved: '0.100000', totalRefunded: '0.900000' });
  expect((await buyLong(platform(), session)).body.code).toBe('session_closed');
  await stepOf(platform(), owners[0] as (typeof owners)[number], callId, 'complete', { result: {} });
  const { workflowId } = await platform().sessionNow(session);
  expect(await platform().temporal.client.workflow.getHandle(workflowId ?? '').result()).toMatchObject({ state: 'closed' });
  expect(await platform().moneyOf(session.buyer)).toEqual({ available: usdc('0.90'), pending: 0n });
}, 20_000);

test('Prefer: wait answers when something happens, or when the time is up', async () => {
  const { owners, session } = await sellers([later]);
  const { callId } = (await buyLong(platform(), session)).body;
  await longCallIs(platform(), session.buyer, callId, 'begun');
  const ask = (secs: number) => platform().ask('GET', `/v1/gateway/calls/${callId}`,
    { key: session.buyer.key, headers: { prefer: `wait=${secs}` } });
  const [begunAt, waiting] = [Date.now(), ask(20)];
  await new Promise((resolve) => setTimeout(resolve, 300));
  await stepOf(platform(), owners[0] as (typeof owners)[number], callId, 'complete', { result: { film: 1 } });
  const reply = await waiting;
  expect([reply.body.call.response, reply.headers.get('preference-applied')]).toEqual([{ film: 1 }, 'wait=20']);
  expect(Date.now() - begunAt).toBeLessThan(5_000);
  expect((await ask(1)).headers.get('preference-applied')).toBeNull();
});

test('events come in pages, and many signs of life leave few lines', async () => {
  const { owners, session } = await sellers([later]);
  const owner = owners[0] as (typeof owners)[number];
  const { callId } = (await buyLong(platform(), session)).body;
  await longCallIs(platform(), session.buyer, callId, 'begun');
  for (let n = 1; n <= 130; n += 1) await stepOf(platform(), owner, callId, 'progress', { percent: n % 100, note: `frame ${n}` });
  const seen: number[] = [];
  for (let cursor = ''; ;) {
    const { body } = await platform().ask('GET', `/v1/gateway/calls/${callId}?limit=30${cursor}`, { key: session.buyer.key });
    seen.push(...body.events.map(({ version }: { version: number }) => version));
    expect(body.call.long).toMatchObject({ note: 'frame 130', percent: 30 });
    if (!body.has_more) break;
    cursor = `&cursor=${body.next_cursor}`;
  }
  expect(seen).toEqual(Array.from({ length: seen.length }, (_, n) => n + 1));
  expect(seen.length).toBeLessThan(105);
  expect((await stepOf(platform(), owner, callId, 'complete', { result: {} })).status).toBe(200);
}, 20_000);

test.each([[{ percent: 101 }, 'percent'], [{ percent: 1.5 }, 'percent'], [{ note: 'x'.repeat(501) }, 'note'], [{ extra: 1 }, 'extra']])(
    'progress of %p is refused', async (body, field) => {
  const { owners, session } = await sellers([later]);
  const { callId } = (await buyLong(platform(), session)).body;
  await longCallIs(platform(), session.buyer, callId, 'begun');
  const reply = await stepOf(platform(), owners[0] as (typeof owners)[number], callId, 'progress', body);
  expect([reply.status, reply.body.message.includes(field)]).toEqual([400, true]);
});

test('what is declared is between a second and a day', async () => {
  const studio = await seller('Studio');
  const owner = await platform().aTrader();
  const body = { type: 'film', name: 'Studio', price: '0.10', endpoint: studio.endpoint };
  const offer = (maxDurationSecs: unknown) => platform().ask('POST', `/v1/agents/${owner.address}/services`,
    { key: owner.key, body: { ...body, maxDurationSecs } });
  for (const wrong of [0, 86_401, 1.5, '60', -1]) expect((await offer(wrong)).status).toBe(400);
  expect((await offer(86_400)).body).toMatchObject({ maxDurationSecs: 86_400 });
  expect((await offer(null)).body.maxDurationSecs).toBeUndefined();
});
