/** The lives of escrows that are kept as histories: by HTTP, by update, by signal, without the workflow, and by the clock. */
import { randomUUID } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import { viewOf } from '../../activities/payment/activities.ts';
import type { PaymentInput } from '../../domain/payment-messages.ts';
import { taskQueues } from '../../workflows/contracts/ids.ts';
import { directPayments, type DirectPayments } from '../support/payments.ts';
import { setStage, type EscrowStage, type EscrowWish } from '../support/escrows.ts';
import { eventually } from '../support/platform-suite.ts';
import type { TestPlatform } from '../support/platform.ts';

interface Scene {
  readonly stage: EscrowStage;
  readonly id: string;
  readonly handle: WorkflowHandle;
  /** Takes steps as a process does that the workflow was too late for. */
  readonly direct: DirectPayments;
  /** Waits until the workflow knows that the escrow is in this state, so that each step is a message of its own. */
  seen(state: string): Promise<void>;
}

/** A story about one escrow; what `act` does after it was made is what the history tells. */
function story(name: string, wish: EscrowWish, act: (scene: Scene) => Promise<void>) {
  return {
    name: `escrow-${name}`,
    async live(platform: TestPlatform): Promise<string> {
      const stage = await setStage(platform, '10');
      const id = await stage.anEscrow(wish);
      const handle = platform.temporal.client.workflow.getHandle(`escrow-${id}`);
      await act({ stage, id, handle, direct: await directPayments(platform.db.pool), seen: (state) => seenBy(handle, state) });
      return `escrow-${id}`;
    },
  };
}

async function seenBy(handle: WorkflowHandle, state: string): Promise<void> {
  await eventually(async () => {
    const view = await handle.query<{ state: string }>('surety-view');
    if (view.state !== state) throw new Error(`The workflow believes that the escrow is ${view.state}.`);
  }, { withinMs: 20_000 });
}

/** Takes a step over HTTP and waits until the workflow has heard of it. */
async function go({ stage, id, seen }: Scene, step: string, who: 'buyer' | 'seller', state: string): Promise<void> {
  await stage.step(id, step, stage.cast[who]);
  await seen(state);
}

const brief = { autoRelease: '2s', reviewWindow: '2s', rulingWindow: '2s' };

/** An escrow that was opened while there was no room at Temporal: its workflow is started from its row. */
async function takenOver(platform: TestPlatform): Promise<string> {
  const [stage, direct] = [await setStage(platform, '10'), await directPayments(platform.db.pool)];
  const { id } = await direct.escrow({ buyer: stage.cast.buyer.address, seller: stage.cast.seller.address });
  const handle = platform.temporal.client.workflow.getHandle(`escrow-${id}`);
  await eventually(() => handle.describe(), { withinMs: 20_000 });
  await seenBy(handle, 'pending');
  await stage.step(id, 'confirm', stage.cast.buyer);
  return `escrow-${id}`;
}

/** Two want the same money at the same moment; the workflow of the one that came second is the story. */
async function notOpened(platform: TestPlatform): Promise<string> {
  const { workflow } = platform.temporal.client;
  return eventually(async () => {
    const stage = await setStage(platform, '1');
    await Promise.all([stage.create(), stage.create()]);
    return eventually(async () => {
      for await (const { workflowId, searchAttributes,
        status } of workflow.list({ query: `WorkflowType = 'escrow' AND Buyer = '${stage.cast.buyer.address}'` })) {
        if (status.name === 'COMPLETED' && searchAttributes['PaymentOutcome']?.[0] !== 'paid') return workflowId;
      }
      throw new Error('No workflow has found that the money was gone.');
    });
  }, { withinMs: 60_000 });
}

/** A life in several runs: evidence until the first is full. */
async function continuedAsNew(platform: TestPlatform): Promise<{ workflowId: string; runId: string }> {
  const [stage, { store, ...direct }] = [await setStage(platform, '10'), await directPayments(platform.db.pool)];
  const { buyer, seller } = stage.cast;
  const { id } = await direct.escrow({ buyer: buyer.address, seller: seller.address });
  await store.markStarted([id]);
  const payment = (await store.read(id))?.payment;
  if (payment === undefined) throw new Error('It was not opened.');
  const input: PaymentInput = {
    id, startId: randomUUID(), amount: '1.000000', asset: 'USDC', buyer: buyer.address, open: null, view: viewOf(payment),
    searchAttributes: ['PaymentState'], eventsMax: 20,
  };
  const workflowId = payment.workflowId;
  const { firstExecutionRunId } = await platform.temporal.client.workflow.start('escrow',
    { workflowId, taskQueue: taskQueues.escrow + platform.queueSuffix, args: [input] });
  await stage.step(id, 'dispute', buyer);
  const handle = platform.temporal.client.workflow.getHandle(workflowId);
  await eventually(async () => {
    await stage.step(id, 'evidence', buyer, { content: 'One more thing.' });
    if ((await handle.describe()).runId === firstExecutionRunId) throw new Error('It still lives its first run.');
  }, { withinMs: 20_000, everyMs: 300 });
  await stage.step(id, 'decline', seller);
  await handle.result();
  // The first run is the story: it ends by beginning the second.
  return { workflowId, runId: firstExecutionRunId };
}

/** Exported to `stories.ts`, which has those of every shape. */
export const escrowStories = [
  story('confirmed', {}, async (scene) => {
    await go(scene, 'deliver', 'seller', 'delivered');
    await scene.stage.step(scene.id, 'confirm', scene.stage.cast.buyer);
  }),
  story('confirmed-at-once', {}, async ({ stage, id }) => void (await stage.step(id, 'confirm', stage.cast.buyer))),
  story('auto-released', { terms: brief }, (scene) => go(scene, 'deliver', 'seller', 'delivered')),
  story('delivery-expired', { terms: brief }, () => Promise.resolve()),
  story('ruled-partial', {}, async (scene) => {
    await go(scene, 'deliver', 'seller', 'delivered');
    await go(scene, 'dispute', 'buyer', 'disputed');
    await scene.stage.step(scene.id, 'evidence', scene.stage.cast.seller);
    await go(scene, 'arbitrate', 'seller', 'arbitrating');
    await scene.stage.step(scene.id, 'resolve', scene.stage.cast.arbiter, { resolution: 'partial', releaseAmount: '0.4' });
  }),
  story('ruled-refund', {}, async (scene) => {
    await go(scene, 'dispute', 'buyer', 'disputed');
    await scene.stage.step(scene.id, 'resolve', scene.stage.cast.arbiter, { resolution: 'refund' });
  }),
  story('ruling-expired', { terms: brief }, (scene) => go(scene, 'dispute', 'buyer', 'disputed')),
  story('declined', {}, async ({ stage, id }) => void (await stage.step(id, 'decline', stage.cast.seller))),
  story('cancelled', { terms: { buyerMayCancel: true } }, async ({ stage, id }) => void (await stage.step(id, 'cancel', stage.cast.buyer))),
  story('by-update', {}, async ({ handle }) => {
    for (const [step, ...args] of [['deliver'], ['dispute', { reason: 'no' }], ['evidence', { by: 'seller', content: 'yes' }],
      ['arbitrate'], ['resolve', { resolution: 'release' }]]) {
      await handle.executeUpdate(`surety-${String(step)}`, { args: args as [] });
    }
  }),
  story('by-signal', {}, async ({ handle, seen }) => {
    await handle.signal('surety-deliver');
    await seen('delivered');
    await handle.signal('surety-confirm');
  }),
  story('refused', {}, async ({ handle, seen }) => {
    await handle.signal('surety-resolve', { resolution: 'release' });
    await eventually(async () => {
      const { lastRefusal } = await handle.query<{ lastRefusal: string | null }>('surety-view');
      if (lastRefusal === null) throw new Error('It has not been refused yet.');
    });
    await handle.executeUpdate('surety-cancel').catch(() => undefined);
    await handle.signal('surety-decline');
    await seen('refunded').catch(() => undefined);
  }),
  story('direct-steps', {}, async ({ direct, stage, id, seen }) => {
    // Nobody told the workflow: it hears of both from the notice that waits for it, and reads what happened.
    await direct.step(id, 'deliver', stage.cast.seller.address);
    await seen('delivered');
    await direct.step(id, 'confirm', stage.cast.buyer.address);
  }),
  story('direct-steps-told-at-once', {}, async ({ direct, stage, id }) => {
    await direct.step(id, 'dispute', stage.cast.buyer.address, { reason: 'Nothing came.' });
    await direct.step(id, 'evidence', stage.cast.seller.address, { content: 'It was sent.' });
    await direct.step(id, 'decline', stage.cast.seller.address);
  }),
  { name: 'escrow-taken-over', live: takenOver },
  { name: 'escrow-not-opened', live: notOpened },
  { name: 'escrow-continued-as-new', live: continuedAsNew },
];
