/** The lives of stream workflows that are kept as histories. */
import type { TestPlatform } from '../support/platform.ts';
import { eventually } from '../support/platform-suite.ts';
import { aStream, newRunsAfter, step, streamNow, type OpenedStream } from '../support/streams.ts';
import type { Story } from './stories.ts';

const workflowOf = (platform: TestPlatform, { workflowId }: OpenedStream) => platform.temporal.client.workflow.getHandle(workflowId);

/** Long enough for a change to be told alone. */
const tell = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 600));

export const streamStories: readonly Story[] = [
  {
    name: 'stream-topped-up-and-closed',
    async live(platform) {
      const stream = await aStream(platform);
      await step(platform, stream, 'ticks', { count: 10 });
      // Ticks and what they make of the deposit are no business of the workflow.
      await tell();
      await platform.db.pool.query(`SELECT ledger_deposit($1, 'USDC', 1000000, $2, NULL)`, [stream.buyer.address, `for-${stream.id}`]);
      await step(platform, stream, 'top-up', { amount: '1.00' });
      await tell();
      await step(platform, stream, 'close');
      return stream.workflowId;
    },
  },
  {
    name: 'stream-closed-by-update',
    async live(platform) {
      const stream = await aStream(platform);
      await workflowOf(platform, stream).executeUpdate('surety-close', { args: [{ by: 'nobody' }] }).catch(() => undefined);
      await workflowOf(platform, stream).executeUpdate('surety-close', { args: [{ by: 'seller', reason: 'done' }] });
      return stream.workflowId;
    },
  },
  {
    name: 'stream-closed-by-signal',
    async live(platform) {
      const stream = await aStream(platform);
      await workflowOf(platform, stream).signal('surety-close', { reason: 7 });
      await tell();
      await workflowOf(platform, stream).signal('surety-close');
      return stream.workflowId;
    },
  },
  {
    name: 'stream-topped-up-by-signal',
    async live(platform) {
      const stream = await aStream(platform, { buyer: await platform.aTrader('2.00') });
      await workflowOf(platform, stream).signal('surety-topup', { amount: '0.50' });
      await tell();
      await workflowOf(platform, stream).executeUpdate('surety-topup', { args: [{ amount: '0.25' }] });
      await step(platform, stream, 'close', {}, { by: stream.seller });
      return stream.workflowId;
    },
  },
  {
    name: 'stream-stale-closed',
    live: async (platform) => (await aStream(platform, { staleTimeoutSecs: 1 })).workflowId,
  },
  {
    name: 'stream-ticked-and-postponed',
    async live(platform) {
      const stream = await aStream(platform, { staleTimeoutSecs: 2, holdAmount: '10.00' });
      for (let n = 0; n < 10; n += 1) {
        await step(platform, stream, 'tick');
        await tell();
      }
      return stream.workflowId;
    },
  },
  {
    name: 'stream-continued-as-new',
    async live(platform) {
      const stream = await aStream(platform, { staleTimeoutSecs: 1, holdAmount: '10.00' });
      const first = await newRunsAfter(12, platform, stream);
      await eventually(async () => {
        await step(platform, stream, 'tick');
        const { runId } = await workflowOf(platform, stream).describe();
        if (runId === first) throw new Error('It still lives its first run.');
      }, { withinMs: 30_000, everyMs: 300 });
      await eventually(async () => {
        if ((await streamNow(platform, stream))['status'] !== 'stale_closed') throw new Error('It still ticks.');
      }, { withinMs: 20_000 });
      // The first run is the story: it ends by beginning the second.
      return { workflowId: stream.workflowId, runId: first };
    },
  },
];
