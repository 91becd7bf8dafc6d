/** The lives of long calls that are kept as histories. */
import { buyLong, firstRequest, longCallIs, stepOf } from '../support/long-calls.ts';
import type { OpenSession, Trader } from '../support/market.ts';
import type { TestPlatform } from '../support/platform.ts';
import { eventually } from '../support/platform-suite.ts';
import { startSeller, type Behaviour, type Seller } from '../support/sellers.ts';
import type { Story } from './stories.ts';

interface Scene {
  readonly studio: Seller;
  readonly owner: Trader;
  readonly session: OpenSession;
  readonly callId: string;
  readonly workflowId: string;
}
type Handle = ReturnType<TestPlatform['temporal']['client']['workflow']['getHandle']>;

const later: Behaviour = { kind: 'status', status: 202 };

/** A call at sellers that behave so; it waits until the workflow is there. @returns the workflow, with the run that `play` names. */
async function scene(platform: TestPlatform, behaviours: readonly Behaviour[], play: (scene: Scene, handle: Handle) => Promise<unknown>,
    { maxDurationSecs = 600, until = 'begun' } = {}): Promise<string | { readonly workflowId: string; readonly runId: string }> {
  const studios = await Promise.all(behaviours.map((behaviour, n) => startSeller(`Studio ${n}`, behaviour)));
  try {
    const serviceType = `story-${studios[0]?.port ?? 0}`;
    const owners = [];
    for (const [n, studio] of studios.entries()) {
      owners.push(await platform.offers(studio, { serviceType, price: `0.${n + 1}0`, maxDurationSecs }));
    }
    const session = await platform.aSession();
    const { callId, workflowId } = (await buyLong(platform, session, { serviceType })).body as { callId: string; workflowId: string };
    const handle = platform.temporal.client.workflow.getHandle(workflowId);
    await eventually(() => handle.describe());
    await firstRequest(studios[0] as Seller);
    await longCallIs(platform, session.buyer, callId, until);
    const runId = await play({ studio: studios[0] as Seller, owner: owners.at(-1) as Trader, session, callId, workflowId }, handle);
    await handle.result();
    return typeof runId === 'string' ? { workflowId, runId } : workflowId;
  } finally {
    await Promise.all(studios.map((studio) => studio.close()));
  }
}

const completed = (platform: TestPlatform, { owner, callId }: Scene): Promise<unknown> =>
  stepOf(platform, owner, callId, 'complete', { result: { film: 1 } });

export const longCallStories: readonly Story[] = [
  { name: 'gateway-call-completed', live: (platform) => scene(platform, [later], (all) => completed(platform, all)) },
  { name: 'gateway-call-at-once', live: (platform) => scene(platform, [{ kind: 'ok' }], async () => undefined, { until: 'settled' }) },
  {
    name: 'gateway-call-failed-over-and-given-up',
    live: (platform) => scene(platform, [{ kind: 'status', status: 500 }, later],
      (all) => stepOf(platform, all.owner, all.callId, 'fail', { reason: 'no' })),
  },
  {
    name: 'gateway-call-asked-again',
    live: (platform) => scene(platform, [{ kind: 'reset' }], async (all) => {
      all.studio.behave(later);
      await longCallIs(platform, all.session.buyer, all.callId, 'begun', 20_000);
      await completed(platform, all);
    }, { until: 'asking' }),
  },
  { name: 'gateway-call-overdue', live: (platform) => scene(platform, [later], async () => undefined, { maxDurationSecs: 2 }) },
  {
    name: 'gateway-call-by-update',
    live: (platform) => scene(platform, [later], async (_all, handle) => {
      await handle.executeUpdate('surety-progress', { args: [{ percent: 10 }] });
      await handle.executeUpdate('surety-complete', { args: [{ result: {} }] });
    }),
  },
  {
    name: 'gateway-call-by-signal',
    live: (platform) => scene(platform, [later], async (_all, handle) => {
      await handle.signal('surety-cancel');
      await handle.signal('surety-progress', { note: 'at work' });
      await handle.signal('surety-fail', { reason: 'no' });
    }),
  },
  {
    name: 'gateway-call-cancelled-in-temporal',
    live: (platform) => scene(platform, [{ kind: 'hang' }], (_all, handle) => handle.cancel(), { until: 'asking' }),
  },
  {
    name: 'gateway-call-continued-as-new',
    live: (platform) => scene(platform, [later], async (all, handle) => {
      const view = await handle.query<object>('surety-view');
      await handle.terminate('to be started anew with a short history');
      const input = { id: all.callId, buyer: all.session.buyer.address, asset: 'USDC', view, eventsMax: 15 };
      const { firstExecutionRunId } = await platform.temporal.client.workflow.start('gatewayCall',
        { workflowId: all.workflowId, taskQueue: `surety-gateway${platform.queueSuffix}`, args: [input] });
      for (let n = 1; n <= 6; n += 1) await handle.signal('surety-progress', { percent: n });
      await eventually(async () => expectGrown(await handle.describe()), { withinMs: 20_000 });
      await completed(platform, all);
      return firstExecutionRunId;
    }),
  },
];

/** The chain of runs has gone on: this one was started by the one before. */
function expectGrown({ raw }: Awaited<ReturnType<Handle['describe']>>): void {
  const { firstRunId, execution } = raw.workflowExecutionInfo ?? {};
  if (firstRunId === execution?.runId) throw new Error('The workflow still is in its first run.');
}
