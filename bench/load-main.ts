/**
 * The load generator: its own process, so that its work does not delay the platform's event loop. It is told what to do in one
 * message, warms up, measures, and sends one report back.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createHttpClient } from './http-client.ts';
import { findCase } from './cases/all.ts';
import type { Turn, TurnEnd } from './case.ts';

/** The order from the parent. */
export interface LoadOrder {
  readonly caseName: string;
  readonly setup: unknown;
  readonly host: string;
  readonly port: number;
  readonly clients: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** Messages to the parent. Totals include the warm-up: the books are compared with everything that was answered. */
export type LoadMessage =
  | { readonly kind: 'measuring' | 'measured' }
  | { readonly kind: 'report'; readonly latenciesMs: readonly number[]; readonly addedMs: readonly number[];
    readonly stepsMs: Readonly<Record<string, readonly number[]>>; readonly paidInWindow: number; readonly windowMs: number;
    readonly paid: number; readonly refused: number; readonly broken: number; readonly lastError: string | null };

const tell = (message: LoadMessage) => process.send?.(message);
/** What all clients of a run add to. */
interface Tally {
  paid: number;
  refused: number;
  broken: number;
  lastError: string | null;
  readonly latenciesMs: number[];
  readonly addedMs: number[];
  readonly stepsMs: Record<string, number[]>;
  from: number;
  to: number;
}

async function run(order: LoadOrder): Promise<void> {
  const turn = findCase(order.caseName).turns(order.setup, order);
  const tally: Tally = { paid: 0, refused: 0, broken: 0, lastError: null, latenciesMs: [], addedMs: [], stepsMs: {},
    from: Infinity, to: Infinity };
  const until = performance.now() + order.warmUpMs + order.measureMs;
  setTimeout(() => { tally.from = performance.now(); tell({ kind: 'measuring' }); }, order.warmUpMs);
  const measured = delay(order.warmUpMs + order.measureMs).then(() => { tally.to = performance.now(); tell({ kind: 'measured' }); });
  await Promise.all(Array.from({ length: order.clients },
    (_, index) => runClient(turn, order, { until, tally, random: createRandom(index + 1) })));
  // The last client may be done a moment before the timer.
  await measured;
  const { latenciesMs, addedMs, stepsMs, from, to, ...totals } = tally;
  tell({ kind: 'report', latenciesMs, addedMs, stepsMs, paidInWindow: latenciesMs.length, windowMs: to - from, ...totals });
}

async function runClient(turn: Turn, order: LoadOrder,
    { until, tally, random }: { until: number; tally: Tally; random: () => number }): Promise<void> {
  const client = createHttpClient(order.host, order.port);
  while (performance.now() < until) {
    const begun = performance.now();
    try {
      const end = await turn(client, random);
      if (typeof end === 'string') {
        tally.refused += 1;
        tally.lastError = end;
        await pause();
      } else note(tally, begun, end);
    } catch (error) {
      tally.broken += 1;
      tally.lastError = (error as Error).message;
      await pause();
    }
  }
  client.close();
}

/** A turn belongs to the window in which it ended; one that straddles the beginning was loaded like the others. */
function note(tally: Tally, begun: number, end: Exclude<TurnEnd, string>): void {
  const ended = performance.now();
  tally.paid += 1;
  if (ended < tally.from || ended >= tally.to) return;
  tally.latenciesMs.push(ended - begun);
  if (end?.sellersMs !== undefined) tally.addedMs.push(ended - begun - end.sellersMs);
  for (const [step, ms] of Object.entries(end?.stepsMs ?? {})) (tally.stepsMs[step] ??= []).push(ms);
}

/** A client that is refused waits a moment, as a sensible one would; otherwise it would only measure refusals. */
function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20));
}

/** A small generator of its own, the same sequence in every run: two runs then ask the same sellers in the same order. */
function createRandom(seed: number): () => number {
  let state = seed * 0x9e3779b9;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

process.on('message', (order: LoadOrder) => {
  run(order).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
process.on('SIGTERM', () => process.exit(0));
process.stdout.write('load generator ready\n');
