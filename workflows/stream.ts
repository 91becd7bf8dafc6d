/**
 * One metered stream: it waits to be closed, and ends by itself when it has not ticked for too long. Ticks are never told here; a look
 * at the row, once for each stale period, finds out how long the stream has been silent.
 */
import { condition, continueAsNew, proxyLocalActivities, workflowInfo } from '@temporalio/workflow';
import type { StreamActivities } from '../activities/stream/activities.ts';
import type { PaymentView } from './contracts/kept-payment.ts';
import { closeStreamMessages, type StreamInput } from './contracts/stream.ts';
import { keepPayment, type KeptPayment } from './keep.ts';

// Local: one quick statement, idempotent, and the history stays short. Tried until it works, because money waits for it.
const { lookAtStream, closeStream } =
  proxyLocalActivities<StreamActivities>({ startToCloseTimeout: '5s', retry: { initialInterval: '200ms', maximumInterval: '30s' } });

/** A look costs six events, so a stream that lives for years goes on in a new run after some 200 of them (docs/streams.md). */
const EVENTS_MAX = 1_200;

export async function stream(input: StreamInput): Promise<PaymentView> {
  const { id, eventsMax = EVENTS_MAX } = input;
  const kept = keepPayment(input.view, input);
  kept.takes(closeStreamMessages, (wish, key) => closeStream({ id, wish: wish ?? {}, key }));
  const full = condition(() => workflowInfo().historyLength >= eventsMax).then(() => 'full' as const);

  while (!kept.view().ended) {
    const next = await Promise.race([kept.endedOrDue(), full]);
    if (next === false) kept.learn(await lookAtStream({ id }));
    if (next === 'full') await goOnInANewRun(input, kept);
  }
  await kept.answered();
  return kept.view();
}

/** Nobody who waits for an answer is left behind: their handlers end first, and may end the stream with it. */
async function goOnInANewRun(input: StreamInput, kept: KeptPayment): Promise<void> {
  await kept.answered();
  if (!kept.view().ended) await continueAsNew<typeof stream>({ ...input, ...kept.carriedOver() });
}
