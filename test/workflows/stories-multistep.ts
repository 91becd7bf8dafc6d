/** The lives of multistep escrows. */
import { confirm, anOpenMultistep, refund, type OpenMultistep } from '../support/multistep.ts';
import type { TestPlatform } from '../support/platform.ts';
import { eventually } from '../support/platform-suite.ts';
import type { Story } from './stories.ts';

const handleOf = (platform: TestPlatform, { workflowId }: OpenMultistep) => platform.temporal.client.workflow.getHandle(workflowId);

/** The workflow has heard of this version. Otherwise a story would be over before its workflow took part in it. */
async function knows(platform: TestPlatform, escrow: OpenMultistep, version: number): Promise<void> {
  await eventually(async () => {
    const view = await handleOf(platform, escrow).query<{ version: number }>('surety-view');
    if (view.version < version) throw new Error(`The workflow knows version ${view.version}.`);
  });
}

export const multistepStories: readonly Story[] = [
  {
    name: 'multistep-completed',
    async live(platform) {
      const escrow = await anOpenMultistep(platform, ['0.10', '0.20']);
      await confirm(platform, escrow, 1);
      await knows(platform, escrow, 2);
      await confirm(platform, escrow, 0);
      return escrow.workflowId;
    },
  },
  {
    name: 'multistep-refunded',
    async live(platform) {
      const escrow = await anOpenMultistep(platform);
      await confirm(platform, escrow, 0);
      await refund(platform, escrow);
      return escrow.workflowId;
    },
  },
  {
    name: 'multistep-expired',
    async live(platform) {
      const escrow = await anOpenMultistep(platform, undefined, { expiresIn: '1500ms' });
      await confirm(platform, escrow, 2);
      return escrow.workflowId;
    },
  },
  {
    name: 'multistep-by-signal',
    async live(platform) {
      const escrow = await anOpenMultistep(platform);
      const handle = handleOf(platform, escrow);
      await handle.signal('surety-confirm-step', { stepIndex: 9 });
      await handle.signal('surety-confirm-step', { stepIndex: 1 });
      await knows(platform, escrow, 2);
      await handle.signal('surety-refund');
      return escrow.workflowId;
    },
  },
  {
    name: 'multistep-by-update',
    async live(platform) {
      const escrow = await anOpenMultistep(platform, ['0.10', '0.20']);
      const handle = handleOf(platform, escrow);
      await handle.executeUpdate('surety-confirm-step', { args: [{ stepIndex: 1 }] });
      await handle.executeUpdate('surety-confirm-step', { args: [{ stepIndex: 1 }] }).catch(() => undefined);
      await handle.executeUpdate('surety-confirm-step', { args: [{ stepIndex: 0 }] });
      return escrow.workflowId;
    },
  },
  {
    name: 'multistep-aborted-by-update',
    async live(platform) {
      const escrow = await anOpenMultistep(platform);
      await handleOf(platform, escrow).executeUpdate('surety-refund');
      return escrow.workflowId;
    },
  },
];
