/** What the operator sees of a pipeline that does not go on. */
import { aLine, newestPipeline, runPipeline } from '../support/pipelines.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

const { platform, seller } = createPlatformSuite();

test('a pipeline without a sign of life for a minute is among what is stuck, and no longer when it has ended', async () => {
  const { types } = await aLine(platform(), [await seller('Slow', { kind: 'slow', ms: 1_500 })]);
  const session = await platform().aSession();
  const stuck = async (): Promise<{ pipelineId: string }[]> =>
    (await platform().ask('GET', '/v1/admin/gateway/stuck', { adminSecret: 'a-secret-for-tests' })).body.pipelines;
  const answer = runPipeline(platform(), session, { steps: types.map((serviceType) => ({ serviceType })) });
  const { pipelineId } = await eventually(() => newestPipeline(platform(), session)) as { pipelineId: string };
  expect(await stuck()).toEqual([]);
  await platform().db.pool.query(`UPDATE pipeline SET updated_at = updated_at - interval '61 seconds' WHERE id = $1`, [pipelineId]);
  expect(await stuck())
    .toEqual([expect.objectContaining({ pipelineId, sessionId: session.token, status: 'running', steps: 1,
    updatedAt: expect.any(String) })]);
  expect((await answer).status).toBe(200);
  expect(await stuck()).toEqual([]);
});
