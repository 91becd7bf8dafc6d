/**
 * The lives of virtual cards that are kept as histories: charged, tried, cancelled, blocked and expired; by HTTP, update, signal and clock.
 */
import type { WorkflowHandle } from '@temporalio/client';
import { parseAmount } from '../../domain/money.ts';
import { cardKind } from '../../payments/kinds.ts';
import { createCardSecrets } from '../../platform/card-secrets.ts';
import { setCardStage, type Card, type CardStage } from '../support/cards.ts';
import { eventually } from '../support/platform-suite.ts';
import type { TestPlatform } from '../support/platform.ts';

interface Scene {
  readonly stage: CardStage;
  readonly card: Card;
  readonly handle: WorkflowHandle;
  /** Waits until the workflow knows of this version, so that each step is a message of its own. */
  heard(version: number): Promise<void>;
}

/** A story about one card; what `act` does after it was issued is what the history tells. */
function story(name: string, act: (scene: Scene) => Promise<unknown>) {
  return {
    name: `card-${name}`,
    async live(platform: TestPlatform): Promise<string> {
      const stage = await setCardStage(platform, '10');
      const card = await stage.aCard();
      const handle = platform.temporal.client.workflow.getHandle(card.workflowId);
      const heard = (version: number) => eventually(async () => {
        const view = await handle.query<{ version: number }>('surety-view');
        if (view.version < version) throw new Error(`The workflow knows version ${view.version} only.`);
      });
      await act({ stage, card, handle, heard });
      return card.workflowId;
    },
  };
}

const tooMuch = { amount: '11' };
const byHand = ({ stage }: Scene) => ({ amount: '4', description: 'By hand', merchant: stage.merchant.address });

/** Exported to `stories.ts`, which has those of every shape. */
export const cardStories = [
  story('charged', ({ stage, card }) => stage.charge(card)),
  story('charged-in-part', ({ stage, card }) => stage.charge(card, { amount: '4' })),
  story('charged-after-wrong-tries', async ({ stage, card, heard }) => {
    for (const version of [2, 3]) {
      await stage.charge(card, tooMuch);
      await heard(version);
    }
    await stage.charge(card);
  }),
  story('blocked', async ({ stage, card, heard }) => {
    for (const version of [2, 3, 4, 5]) {
      await stage.charge(card, tooMuch);
      await heard(version);
    }
    await stage.charge(card, tooMuch);
  }),
  story('cancelled', ({ stage, card }) => stage.cancel(card)),
  story('by-update', async (scene) => {
    const charge = (sent: object): Promise<unknown> => scene.handle.executeUpdate<unknown, [object]>('surety-charge', { args: [sent] });
    await charge({ ...byHand(scene), ...tooMuch }).catch(() => undefined);
    await charge(byHand(scene));
  }),
  story('by-signal', async (scene) => {
    await scene.handle.signal('surety-charge', { ...byHand(scene), ...tooMuch });
    await scene.heard(2);
    await scene.handle.signal('surety-cancel');
  }),
  {
    name: 'card-expired',
    async live(platform: TestPlatform): Promise<string> {
      const { buyer } = await setCardStage(platform, '10');
      const { lookup, last4, check } = createCardSecrets('a key for tests').make();
      // Shorter than the route allows.
      const terms = { merchant: null, category: null, description: null, lifeMs: 2_000, last4, check };
      const wish = { buyer: buyer.address, seller: null, arbiter: null, tenantId: null, asset: 'USDC',
        amountMicros: parseAmount('1'), terms, lookup };
      return (await platform.runtime.ports.payments.open(cardKind, wish, null)).payment.workflowId;
    },
  },
];
