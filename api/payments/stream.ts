/** A metered stream. It may have a hundred thousand ticks, so they are told as one; `GET /v1/streams/:id/ticks` lists them. */
import { idPrefixes } from '../../domain/ids.ts';
import { formatMicros } from '../../domain/money.ts';
import { readTickSummary, type TickSummary } from '../../ledger/timeline-kept.ts';
import { amountIn, keptKind } from './kept.ts';
import { dateOf } from './kind.ts';
import { fixed, usdc, type Entry } from './timeline.ts';

export const streamKind = keptKind({
  kind: 'stream', prefix: idPrefixes.stream, shape: 'stream',
  refs: ({ id, parts }) => [id, ...Array.from({ length: parts }, (_, index) => `${id}:topup:${index + 1}`)],
  tell: {
    opened: (data) => `The stream was opened with a deposit of ${amountIn(data, 'deposit')}, at ${amountIn(data, 'pricePerTick')} a tick.`,
    deposit_low: (data) => `The deposit is nearly spent; ${amountIn(data, 'remaining')} are left.`,
    paused: 'The rest of the deposit cannot pay another tick.',
    topped_up: (data) => `The buyer added ${amountIn(data, 'amount')} to the deposit.`,
    resumed: 'The stream can tick again.',
    closed: (data) => `The stream was closed: ${amountIn(data, 'spent')} for the seller, ${amountIn(data, 'returned')} back to the buyer.`,
    stale_closed: (data) =>
      `Nobody ticked for too long, and the stream was closed: ${amountIn(data, 'spent')} for the seller, `
      + `${amountIn(data, 'returned')} back to the buyer.`,
  },
  async more(pool, { id }) {
    const ticks = await readTickSummary(pool, id);
    return ticks === null ? [] : [fixed([ticksEntry(ticks)])];
  },
});

/** Stands at the time of the latest tick. */
function ticksEntry({ count, spentMicros, firstAtMicros, lastAtMicros }: TickSummary): Entry {
  const [firstAt, lastAt] = [dateOf(firstAtMicros).toISOString(), dateOf(lastAtMicros).toISOString()];
  return {
    atMicros: lastAtMicros, kind: 'ticks', id: 0n,
    what: `${count} ${count === 1 ? 'tick was' : 'ticks were'} counted, together ${usdc(spentMicros)}, from ${firstAt} to ${lastAt}.`,
    data: { count, spent: formatMicros(spentMicros), firstAt, lastAt },
  };
}
