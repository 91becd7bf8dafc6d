/** The lives of pipelines that are kept as histories. */
import type { Market, OpenSession } from '../support/market.ts';
import { newestPipeline, runPipeline, undone, workflowResult, type StepBody } from '../support/pipelines.ts';
import type { TestPlatform } from '../support/platform.ts';
import { eventually } from '../support/platform-suite.ts';
import { startSeller, type Behaviour, type Seller } from '../support/sellers.ts';
import type { Story } from './stories.ts';

interface Scene {
  readonly session: OpenSession;
  readonly steps: readonly StepBody[];
  readonly sellers: readonly Seller[];
  readonly undo: Seller;
}

/** One seller for each behaviour, and one that undoes; all of them are closed when the story is told. */
async function scene(market: Market, behaviours: readonly Behaviour[], play: (scene: Scene) => Promise<string>): Promise<string> {
  const undo = await startSeller('Undo');
  const sellers = await Promise.all(behaviours.map((behaviour, step) => startSeller(`Seller ${step}`, behaviour)));
  try {
    const steps: StepBody[] = [];
    for (const seller of sellers) {
      const serviceType = `story-${seller.port}`;
      await market.offers(seller, { serviceType, refundable: true });
      steps.push({ serviceType });
    }
    return await play({ session: await market.aSession(), steps, sellers, undo });
  } finally {
    await Promise.all([undo, ...sellers].map((seller) => seller.close()));
  }
}

const ok: Behaviour = { kind: 'ok' };
/** A quick pipeline ends before its workflow begins; with this one the workflow takes part in it. */
const unhurried: Behaviour = { kind: 'slow', ms: 150 };
const broken: Behaviour = { kind: 'status', status: 500 };

/** Runs it to its end. @returns its workflow. */
async function run(platform: TestPlatform, { session, steps }: Pick<Scene, 'session' | 'steps'>): Promise<string> {
  const { body } = await runPipeline(platform, session, { steps });
  await workflowResult(platform, body.workflowId as string);
  return body.workflowId as string;
}

/** Somebody at Temporal stops a pipeline whose second step is under way, long enough to be an activity of its own. */
function stopped(name: string,
    stop: (handle: { signal(name: string): Promise<void>; executeUpdate(name: string, options: { args: [object] }): Promise<unknown>;
    cancel(): Promise<unknown> }) => Promise<unknown>): Story {
  return {
    name,
    live: (platform) => scene(platform, [ok, { kind: 'slow', ms: 4_000 }, ok], async ({ session, steps, sellers, undo }) => {
      const reply = runPipeline(platform, session,
        { steps: steps.map((step) => ({ ...step, compensation: { endpoint: undo.endpoint } })) });
      await eventually(() =>
        (sellers[1]?.requests.length === 1 ? Promise.resolve() : Promise.reject(new Error('The slow seller has not been asked yet.'))));
      const { workflowId } = (await newestPipeline(platform, session)) as { workflowId: string };
      const handle = platform.temporal.client.workflow.getHandle(workflowId);
      await eventually(async () => {
        const { raw } = await handle.describe();
        if ((raw.pendingActivities ?? []).length === 0) throw new Error('The workflow still waits for its first look.');
      });
      await stop(handle);
      await reply;
      await handle.result();
      return workflowId;
    }),
  };
}

export const pipelineStories: readonly Story[] = [
  { name: 'pipeline-completed', live: (platform) => scene(platform, [unhurried, unhurried, ok], (all) => run(platform, all)) },
  { name: 'pipeline-slow-step', live: (platform) => scene(platform, [ok, { kind: 'slow', ms: 3_000 }], (all) => run(platform, all)) },
  {
    name: 'pipeline-failed-and-undone',
    live: (platform) => scene(platform, [ok, ok, broken], async ({ session, steps, undo }) => {
      undo.behaveOnce({ kind: 'status', status: 503 });
      return run(platform, { session, steps: steps.map((step) => ({ ...step, compensation: { endpoint: undo.endpoint } })) });
    }),
  },
  {
    name: 'pipeline-undo-retried',
    live: (platform) => scene(platform, [unhurried, broken], async ({ session, steps, undo }) => {
      undo.behaveOnce({ kind: 'status', status: 410 });
      const { body } = await runPipeline(platform, session,
        { steps: steps.map((step) => ({ ...step, compensation: { endpoint: undo.endpoint } })) });
      const handle = platform.temporal.client.workflow.getHandle(body.workflowId as string);
      await undone(platform, session, body.pipelineId as string);
      await handle.signal('surety-retry-undo');
      await handle.result();
      return body.workflowId as string;
    }),
  },
  {
    name: 'pipeline-all-or-nothing-given-back',
    live: (platform) => scene(platform, [unhurried, unhurried, broken],
      ({ session, steps }) => run(platform, { session, steps: steps.map((step) => ({ ...step, refundable: true })) })),
  },
  stopped('pipeline-cancelled-by-signal', (handle) => handle.signal('surety-cancel')),
  stopped('pipeline-cancelled-by-update', (handle) => handle.executeUpdate('surety-cancel', { args: [{}] })),
  stopped('pipeline-cancelled-in-temporal', (handle) => handle.cancel()),
];
