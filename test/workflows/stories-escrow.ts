/** The lives of escrows that are kept as histories: every branch of the workflow, by HTTP, by update, by signal and by the clock. */
import type { WorkflowHandle } from '@temporalio/client';
import { setStage, type EscrowStage, type EscrowWish } from '../support/escrows.ts';
import { eventually } from '../support/platform-suite.ts';
import type { TestPlatform } from '../support/platform.ts';

interface Scene {
  readonly stage: EscrowStage;
  readonly id: string;
  readonly handle: WorkflowHandle;
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
      const seen = (state: string) => eventually(async () => {
        const view = await handle.query<{ state: string }>('surety-view');
        if (view.state !== state) throw new Error(`The workflow believes that the escrow is ${view.state}.`);
      });
      await act({ stage, id, handle, seen });
      return `escrow-${id}`;
    },
  };
}

/** Takes a step over HTTP and waits until the workflow has heard of it. */
async function go({ stage, id, seen }: Scene, step: string, who: 'buyer' | 'seller', state: string): Promise<void> {
  await stage.step(id, step, stage.cast[who]);
  await seen(state);
}

const brief = { autoRelease: '2s', reviewWindow: '2s', rulingWindow: '2s' };

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
    for (const [step, ...args] of [['deliver'], ['dispute', { reason: 'no' }], ['evidence', { by: 'seller', content: 'yes' }], ['arbitrate'], ['resolve', { resolution: 'release' }]]) {
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
];
