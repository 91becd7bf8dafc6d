/** A metered stream. It may have a hundred thousand ticks, so they are one entry; `GET /v1/streams/:id/ticks` lists them. */
import type pg from 'pg';
import { formatMicros } from '../../domain/money.ts';
import { asStream, leftOf, priceOf, type StreamPayment } from '../../domain/stream.ts';
import { readTickSpan } from '../../ledger/ticks.ts';
import { streamKind as onEngine } from '../../payments/kinds.ts';
import { endOf, engineKind } from './engine.ts';
import { dateOf } from './kind.ts';
import { amountIn, events, fixed, money, type Source } from './timeline.ts';

/** What the statement of ticks writes into the outbox by itself, without a step. */
const notes: Readonly<Record<string, (data: Readonly<Record<string, unknown>>) => string>> = {
  'stream.deposit_low': (data) => `The deposit is nearly spent; ${amountIn(data, 'remaining')} are left.`,
  'stream.paused': () => 'The rest of the deposit cannot pay another tick.',
};

export const streamKind = engineKind(
  onEngine,
  (payment) => {
    const { heldMicros: deposit, meter } = asStream(payment);
    const left = leftOf(meter);
    return { deposit, spent: meter.usedMicros, remaining: meter.isOpen ? left : 0n, refunded: meter.isOpen ? 0n : left };
  },
  {
    open: ({ heldMicros }, payment) => `The stream was opened with a deposit of ${money(heldMicros, payment.asset)}, `
      + `at ${money(priceOf(asStream(payment)), payment.asset)} a tick.`,
    topup: ({ heldMicros }, { asset }) => `The buyer added ${money(heldMicros, asset)} to the deposit.`,
    close: (step, payment) => endOf(step, payment, 'stream'),
    clock: (step, payment) => `Nobody ticked for too long. ${endOf(step, payment, 'stream')}`,
  },
  (pool, payment) => [
    events(pool, payment.id, (topic, data) => notes[topic]?.(data) ?? '', Object.keys(notes)),
    ticks(pool, asStream(payment)),
  ],
);

/** All ticks as one entry, at the time of the latest. */
function ticks(pool: pg.Pool, { id, asset, meter: { uses: count, usedMicros } }: StreamPayment): Source {
  return async (after, limit) => {
    const span = count === 0 ? null : await readTickSpan(pool, id, count);
    if (span === null) return [];
    const [firstAt, lastAt] = [span.firstAtMicros, span.lastAtMicros].map((at) => dateOf(at).toISOString());
    const counted = count === 1 ? 'tick was counted' : 'ticks were counted';
    return fixed([{
      atMicros: span.lastAtMicros, kind: 'ticks', id: 0n,
      what: `${count} ${counted}, together ${money(usedMicros, asset)}, from ${firstAt} to ${lastAt}.`,
      data: { count, spent: formatMicros(usedMicros), firstAt, lastAt },
    }])(after, limit);
  };
}
