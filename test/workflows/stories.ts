/** The lives of workflows that are kept as histories: each is lived on a real platform and ends in one workflow to remember. */
import { sessionBounds, type SessionTerms } from '../../domain/gateway.ts';
import { parseAmount } from '../../domain/money.ts';
import type { TestPlatform } from '../support/platform.ts';
import { startSeller, type Behaviour } from '../support/sellers.ts';
import { eventually } from '../support/platform-suite.ts';
import { workflowIdFor } from '../../workflows/contracts/ids.ts';
import { cardStories } from './stories-card.ts';
import { choreStories } from './stories-chores.ts';
import { escrowStories } from './stories-escrow.ts';
import { longCallStories } from './stories-long-call.ts';
import { multistepStories } from './stories-multistep.ts';
import { streamStories } from './stories-stream.ts';
import { pipelineStories } from './stories-pipeline.ts';

export interface Story {
  readonly name: string;
  /** Lives it and says which workflow to remember; with a run where that is not its latest. */
  live(platform: TestPlatform): Promise<string | { readonly workflowId: string; readonly runId: string }>;
}

function termsFor(lifeMs: number): SessionTerms {
  return {
    maxTotalMicros: parseAmount('1.00'), maxPerRequestMicros: parseAmount('1.00'), strategy: 'cheapest', allowedTypes: [], warnAtPercent: 0,
    maxRequestsPerMinute: sessionBounds.requestsPerMinuteDefault, lifeMs,
  };
}

async function openSession(platform: TestPlatform, lifeMs = 3_600_000) {
  const buyer = await platform.aTrader('1.00');
  const { session } = await platform.runtime.ports.gateway.openSession(buyer.address, null, termsFor(lifeMs), null);
  return { buyer, session };
}

/** Buys once of a seller that behaves like this. @returns the workflow of the call. */
async function buyFrom(platform: TestPlatform, behaviour: Behaviour): Promise<string> {
  const seller = await startSeller('Seller', behaviour);
  try {
    const serviceType = `story-${seller.port}`;
    await platform.offers(seller, { serviceType });
    const { body } = await platform.buy(await platform.aSession(), { serviceType });
    return body.workflowId as string;
  } finally {
    await seller.close();
  }
}

export const stories: readonly Story[] = [
  {
    name: 'gateway-session-closed-by-update',
    async live(platform) {
      const { buyer, session } = await openSession(platform);
      await platform.runtime.ports.gateway.closeSession(buyer.address, session.id);
      return session.workflowId;
    },
  },
  {
    name: 'gateway-session-closed-by-signal',
    async live(platform) {
      const { session } = await openSession(platform);
      await platform.temporal.client.workflow.getHandle(session.workflowId).signal('surety-close');
      return session.workflowId;
    },
  },
  {
    name: 'gateway-session-expired',
    async live(platform) {
      return (await openSession(platform, 1_000)).session.workflowId;
    },
  },
  {
    name: 'gateway-session-closed-with-a-call-under-way',
    async live(platform) {
      const seller = await startSeller('Slow', { kind: 'slow', ms: 1_500 });
      try {
        await platform.offers(seller, { serviceType: 'story-closing' });
        const session = await platform.aSession();
        const reply = platform.buy(session, { serviceType: 'story-closing' });
        await eventually(async () => {
          if (seller.requests.length === 0) throw new Error('The seller has not been asked yet.');
        });
        await platform.closeSession(session);
        await reply;
        return workflowIdFor('gatewaySession', session.token);
      } finally {
        await seller.close();
      }
    },
  },
  { name: 'gateway-calls-quick', live: (platform) => buyFrom(platform, { kind: 'ok' }) },
  { name: 'gateway-calls-all-sellers-failed', live: (platform) => buyFrom(platform, { kind: 'status', status: 500 }) },
  { name: 'gateway-calls-slow', live: (platform) => buyFrom(platform, { kind: 'slow', ms: 3_000 }) },
  {
    name: 'gateway-calls-cancelled',
    async live(platform) {
      const seller = await startSeller('Slow', { kind: 'hang' });
      try {
        await platform.offers(seller, { serviceType: 'story-cancelled' });
        const session = await platform.aSession();
        const reply = platform.buy(session, { serviceType: 'story-cancelled' });
        const callId = await eventually(async () => {
          const id = seller.requests[0]?.idempotencyKey;
          if (typeof id !== 'string') throw new Error('The seller has not been asked yet.');
          return id;
        });
        const { rows: [row] } = await platform.db.pool.query<{ workflow_id: string }>('SELECT workflow_id FROM gateway_call WHERE id = $1',
          [callId]);
        const workflowId = row?.workflow_id ?? workflowIdFor('gatewayCalls', 'missing');
        const handle = platform.temporal.client.workflow.getHandle(workflowId);
        await eventually(async () => {
          const { raw } = await handle.describe();
          if ((raw.pendingActivities ?? []).length === 0) throw new Error('The workflow still waits for its first look.');
        });
        await handle.cancel();
        await reply;
        return workflowId;
      } finally {
        await seller.close();
      }
    },
  },
  ...cardStories,
  ...choreStories,
  ...escrowStories,
  ...longCallStories,
  ...multistepStories,
  ...pipelineStories,
  ...streamStories,
];
