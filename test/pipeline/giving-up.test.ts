/** When a compensation is called no more. */
import { aLine, runPipeline, undone } from '../support/pipelines.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform, seller } = createPlatformSuite({ WORKER_QUEUES: 'gateway,pipeline', UNDO_DEADLINE: '3s' });

test('a compensation that has not worked when its time is over is given up, with the latest reason', async () => {
  const { types } = await aLine(platform(), [await seller('First'), await seller('Broken', { kind: 'status', status: 500 })]);
  const undo = await seller('Undo', { kind: 'status', status: 503 });
  const session = await platform().aSession();
  const { body } = await runPipeline(platform(), session,
    { steps: types.map((serviceType) => ({ serviceType, compensation: { endpoint: undo.endpoint } })) });
  const { status, compensations: [first] } = await undone(platform(), session, body.pipelineId);
  expect([status, first]).toEqual(['failed', expect.objectContaining({ status: 'failed', error: 'answered with HTTP 503' })]);
  // At once, after half a second and after one and a half; the next would come after three and a half.
  expect(first.attempts).toBeGreaterThanOrEqual(2);
  expect(first.attempts).toBeLessThanOrEqual(3);
  expect(undo.requests).toHaveLength(first.attempts);
}, 60_000);
