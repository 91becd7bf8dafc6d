/** What a pipeline refuses before anything is held, and what asking again gives. */
import type { Reply } from '../support/app.ts';
import { usdc } from '../support/market.ts';
import { aLine, pipelineNow, runPipeline, type StepBody } from '../support/pipelines.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway,pipeline' });

async function aMarket(count = 2, price = '0.10') {
  const sellers = await Promise.all(Array.from({ length: count }, (_, step) => seller(`Seller ${step}`)));
  const { types } = await aLine(platform(), sellers, { price });
  return { sellers, steps: types.map((serviceType): StepBody => ({ serviceType })) };
}

const answerOf = ({ status, body }: Reply): unknown[] => [status, body.code, body.funds_status];

test('no steps, eleven steps, unknown fields and wrong amounts are refused', async () => {
  const { steps: [step] } = await aMarket(1);
  const session = await platform().aSession();
  const bodies: [object, string][] = [
    [{ steps: [] }, 'validation_error'], [{ steps: Array(11).fill(step) }, 'validation_error'], [{}, 'validation_error'],
    [{ steps: [{ ...step, surprise: 1 }] }, 'validation_error'],
    [{ steps: [{ ...step, maxPrice: '0' }] }, 'invalid_amount'], [{ steps: [{ ...step, params: [] }] }, 'validation_error'],
    [{ steps: [{ ...step, compensation: {} }] }, 'validation_error'],
  ];
  for (const [body, code] of bodies) expect(answerOf(await runPipeline(platform(), session, body as never)))
    .toEqual([400, code, 'no_change']);
  expect(await platform().sessionNow(session)).toMatchObject({ reserved: '0.000000', remaining: '1.000000' });
});

test('a step that nobody offers is named, and nothing is held for the others', async () => {
  const { steps } = await aMarket(1);
  const session = await platform().aSession();
  for (const serviceType of ['nobody-sells-this', 'no service type']) {
    const reply = await runPipeline(platform(), session, { steps: [...steps, { serviceType }] });
    expect([...answerOf(reply), reply.body.failedStep]).toEqual([404, 'no_service', 'no_change', 1]);
    expect(reply.body.message).toMatch(/^Step 2 of 2 \(index 1\): /);
  }
  const dear = await runPipeline(platform(), session, { steps: [{ ...steps[0]!, maxPrice: '0.05' }] });
  expect(answerOf(dear)).toEqual([404, 'no_service', 'no_change']);
  expect(await platform().sessionNow(session)).toMatchObject({ remaining: '1.000000' });
});

test('fields that are empty text, or null, are left out: clients of the first system send them so', async () => {
  const { steps: [step] } = await aMarket(1);
  const session = await platform().aSession();
  for (const none of ['', null]) {
    const blank = { params: null, maxPrice: none, preferAgent: none };
    const replies = [
      await runPipeline(platform(), session, { steps: [{ ...step, ...blank }], idempotencyKey: none } as never),
      await platform().ask('POST', '/v1/gateway/proxy',
        { key: session.buyer.key, headers: { 'x-gateway-token': session.token }, body: { ...step, ...blank, idempotencyKey: none } }),
    ];
    expect(replies.map(({ status }) => status)).toEqual([200, 200]);
  }
});

test('a compensation must be an address that Surety may call', async () => {
  const { steps } = await aMarket(1);
  const session = await platform().aSession();
  for (const endpoint of ['http://169.254.169.254/latest', 'ftp://example.org/', 'nonsense']) {
    const reply = await runPipeline(platform(), session, { steps: [{ ...steps[0]!, compensation: { endpoint } }] });
    expect([...answerOf(reply), reply.body.details[0].field])
      .toEqual([400, 'invalid_endpoint', 'no_change', 'steps.0.compensation.endpoint']);
  }
});

test('a budget that is too small for all steps buys none, and says what they cost', async () => {
  const { sellers, steps } = await aMarket(3, '0.40');
  const session = await platform().aSession();
  const reply = await runPipeline(platform(), session, { steps });
  expect([...answerOf(reply), reply.body.price, reply.body.currency, reply.body.remaining])
    .toEqual([402, 'budget_exceeded', 'no_change', '1.200000', 'USDC', '1.000000']);
  expect(sellers[0]?.requests).toHaveLength(0);
});

test('where the best sellers are too dear together, the cheapest of each step are bought', async () => {
  const [good, cheap] = [await seller('Good'), await seller('Cheap')];
  const preferred = await platform().offers(good, { serviceType: 'one', price: '0.60' });
  await platform().offers(cheap, { serviceType: 'one', price: '0.40' });
  const session = await platform().aSession();
  const step = { serviceType: 'one', preferAgent: preferred.address };
  const { status, body } = await runPipeline(platform(), session, { steps: [step, step] });
  expect([status, body.steps.map(({ serviceName }: { serviceName: string }) => serviceName), body.remaining])
    .toEqual([200, ['Cheap', 'Cheap'], '0.200000']);
});

test('every step counts as a request of the session\'s minute', async () => {
  const { steps } = await aMarket(2);
  const session = await platform().aSession({ maxRequestsPerMinute: 3 });
  expect((await runPipeline(platform(), session, { steps })).status).toBe(200);
  const refused = await runPipeline(platform(), session, { steps });
  expect([...answerOf(refused), refused.headers.get('retry-after')]).toEqual([429, 'rate_limited', 'no_change', '60']);
  expect((await platform().buy(session, { serviceType: 'step-0' })).status).toBe(200);
});

test('more steps than the session allows in a minute are refused as a mistake of the request: waiting would not help', async () => {
  const { steps } = await aMarket(2);
  const session = await platform().aSession({ maxRequestsPerMinute: 1 });
  const refused = await runPipeline(platform(), session, { steps });
  expect([...answerOf(refused), refused.body.details[0].field, refused.headers.get('retry-after')])
    .toEqual([400, 'validation_error', 'no_change', 'steps', null]);
  expect(refused.body.message).toContain('each of the 2 steps is a request, and the session\'s maxRequestsPerMinute is 1');
  expect((await runPipeline(platform(), session, { steps: steps.slice(0, 1) })).status).toBe(200);
});

test('the session must be the caller\'s, open, and there', async () => {
  const { steps } = await aMarket(1);
  const session = await platform().aSession();
  const stranger = await platform().aTrader();
  expect(answerOf(await runPipeline(platform(), { ...session, buyer: stranger }, { steps }))).toEqual([403, 'forbidden', 'no_change']);
  expect(answerOf(await runPipeline(platform(), { ...session, token: `gw_${'0'.repeat(24)}` }, { steps })))
    .toEqual([401, 'unauthorized', 'no_change']);
  expect((await platform().ask('POST', '/v1/gateway/pipeline', { key: session.buyer.key, body: { steps } })).status).toBe(401);
  await platform().closeSession(session);
  expect(answerOf(await runPipeline(platform(), session, { steps }))).toEqual([401, 'session_closed', 'no_change']);
});

test('the same key and request again gives the first pipeline, also when the session has been closed; another request with it is refused',
    async () => {
  const { sellers, steps } = await aMarket(2);
  const session = await platform().aSession();
  const first = await runPipeline(platform(), session, { steps }, 'once');
  const again = await runPipeline(platform(), session, { steps }, 'once');
  expect([again.status, again.headers.get('idempotent-replayed'), first.headers.get('idempotent-replayed')]).toEqual([200, 'true', null]);
  expect(again.body).toEqual(first.body);
  expect(answerOf(await runPipeline(platform(), session, { steps: steps.slice(0, 1) }, 'once')))
    .toEqual([422, 'idempotency_mismatch', 'no_change']);
  await platform().closeSession(session);
  expect((await runPipeline(platform(), session, { steps }, 'once')).body.pipelineId).toBe(first.body.pipelineId);
  // Nor does it matter that nobody sells it any more.
  await platform().db.pool.query('UPDATE service SET active = false');
  await platform().registry.catalogue.refresh();
  expect((await runPipeline(platform(), session, { steps }, 'once')).body.pipelineId).toBe(first.body.pipelineId);
  expect(answerOf(await runPipeline(platform(), session, { steps: steps.slice(0, 1) }, 'once')))
    .toEqual([422, 'idempotency_mismatch', 'no_change']);
  expect(sellers.map(({ requests }) => requests.length)).toEqual([1, 1]);
});

test('twins that ask with one key at the same moment buy once, and the key of the body works like that of the header', async () => {
  const { sellers, steps } = await aMarket(2);
  const session = await platform().aSession();
  const twins = await Promise.all(Array.from({ length: 5 }, () => runPipeline(platform(), session, { steps, idempotencyKey: 'twins' })));
  expect(new Set(twins.map(({ status, body }) => `${status} ${body.pipelineId}`)).size).toBe(1);
  expect(sellers[0]?.requests).toHaveLength(1);
});

test('a refused pipeline leaves its key free; a failed one is the answer of its key', async () => {
  const { sellers, steps } = await aMarket(2, '0.60');
  const session = await platform().aSession();
  expect(answerOf(await runPipeline(platform(), session, { steps }, 'dear'))).toEqual([402, 'budget_exceeded', 'no_change']);
  expect((await runPipeline(platform(), session, { steps: steps.slice(0, 1) }, 'dear')).status).toBe(200);
  sellers[1]?.behave({ kind: 'status', status: 500 });
  const other = await platform().aSession({ maxTotal: '2.00' });
  const [failed, again] = [await runPipeline(platform(), other, { steps }, 'fails'),
    await runPipeline(platform(), other, { steps }, 'fails')];
  expect([failed.status, again.status, again.body.pipelineId]).toEqual([502, 502, failed.body.pipelineId]);
  expect([failed, again].map(({ headers }) => headers.get('idempotent-replayed'))).toEqual([null, 'true']);
});

test('two pipelines racing for one budget: as many run as fit, and the others hear why not', async () => {
  const { steps } = await aMarket(2, '0.20');
  const session = await platform().aSession();
  const replies = await Promise.all(Array.from({ length: 5 }, () => runPipeline(platform(), session, { steps })));
  expect(replies.map(({ status }) => status).sort()).toEqual([200, 200, 402, 402, 402]);
  expect(await platform().sessionNow(session))
    .toMatchObject({ totalSpent: '0.800000', reserved: '0.000000', remaining: '0.200000', requestCount: 4 });
});

test('only its buyer and the platform may read or cancel a pipeline; lists are one\'s own, and paged', async () => {
  const { steps } = await aMarket(1);
  const session = await platform().aSession();
  const ids = [];
  for (let n = 0; n < 3; n += 1) ids.push((await runPipeline(platform(), session, { steps })).body.pipelineId);
  const stranger = await platform().aTrader();
  const path = `/v1/gateway/pipelines/${ids[0]}`;
  expect(answerOf(await platform().ask('GET', path, { key: stranger.key }))).toEqual([403, 'unauthorized', 'no_change']);
  expect(answerOf(await platform().ask('POST', `${path}/cancel`, { key: stranger.key }))).toEqual([403, 'unauthorized', 'no_change']);
  expect((await platform().ask('GET', path, { adminSecret: 'a-secret-for-tests' })).body.pipeline.pipelineId).toBe(ids[0]);
  expect((await platform().ask('GET', '/v1/gateway/pipelines/pipe_missing', { key: stranger.key })).status).toBe(404);
  expect((await platform().ask('POST', '/v1/gateway/pipelines/pipe_missing/cancel', { key: stranger.key })).status).toBe(404);
  expect((await platform().ask('GET', '/v1/gateway/pipelines', { key: stranger.key })).body)
    .toEqual({ pipelines: [], count: 0, has_more: false });
  const { body: page } = await platform().ask('GET', '/v1/gateway/pipelines?limit=2', { key: session.buyer.key });
  expect([page.pipelines.map(({ pipelineId }: { pipelineId: string }) => pipelineId), page.has_more]).toEqual([[ids[2], ids[1]], true]);
  const { body: rest } = await platform()
    .ask('GET', `/v1/gateway/pipelines?limit=2&cursor=${page.next_cursor}`, { key: session.buyer.key });
  expect([rest.pipelines.map(({ pipelineId }: { pipelineId: string }) => pipelineId), rest.has_more]).toEqual([[ids[0]], false]);
});

test('the end of a pipeline cannot be cancelled', async () => {
  const { steps } = await aMarket(1);
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session, { steps });
  expect(answerOf(await platform().ask('POST', `/v1/gateway/pipelines/${body.pipelineId}/cancel`, { key: session.buyer.key })))
    .toEqual([409, 'invalid_state', 'no_change']);
  expect((await pipelineNow(platform(), session, body.pipelineId)).status).toBe('completed');
  expect(usdc((await platform().sessionNow(session))['totalSpent'] ?? '0')).toBe(usdc('0.10'));
});
