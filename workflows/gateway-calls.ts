/**
 * The promise behind accepted calls: each will be settled or released, whatever becomes of the process that accepted it. Nearly
 * always the head start of that process has finished before this workflow looks.
 */
import { CancellationScope, isCancellation, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { GatewayActivities } from '../activities/gateway/activities.ts';
import type { CallLine, CallsProgress } from '../domain/gateway-messages.ts';
import type { GatewayCallsInput, GatewayCallsResult } from './contracts/gateway-calls.ts';
import { showInSearches } from './search-attributes.ts';

// They join the drives of this process, or do one statement, and give up well before a workflow task would time out.
const quick = proxyLocalActivities<GatewayActivities>({ startToCloseTimeout: '6s', scheduleToCloseTimeout: '8s',
  retry: { maximumAttempts: 2 } });
// Slow sellers, and calls whose process is gone. A call that is still open after this time is given back.
const { finishCalls } = proxyActivities<GatewayActivities>({
  startToCloseTimeout: '5m', heartbeatTimeout: '15s', scheduleToCloseTimeout: '15m',
  retry: { initialInterval: '500ms', maximumInterval: '10s' }, summary: 'stay with the calls, whose process does not answer',
});
// The compensation: tried until it works.
const { releaseCalls } = proxyActivities<GatewayActivities>({
  startToCloseTimeout: '5m', heartbeatTimeout: '15s', retry: { initialInterval: '1s', maximumInterval: '1m' },
  summary: 'give back what nobody drives any more',
});

export async function gatewayCalls(input: GatewayCallsInput): Promise<GatewayCallsResult> {
  const calls: CallLine[] = [];
  let open = input.callIds;
  let slow = 0;
  const note = (progress: CallsProgress): void => {
    calls.push(...progress.ended);
    open = progress.open;
  };
  // Said before anything is done: what is neither settled nor released when this ends badly goes back to its buyers.
  const giveBack = async (): Promise<void> => {
    note(await quick.releaseCalls({ callIds: open, patiently: false }).catch(() => ({ ended: [], open })));
    if (open.length > 0) note(await releaseCalls({ callIds: open, patiently: true }));
  };
  try {
    // A failure of the first moment, such as an absent database, is no reason to give anything back.
    note(await quick.driveCalls({ callIds: open }).catch(unlessCancelled({ ended: [], open })));
    slow = open.length;
    if (open.length > 0) note(await stayWith(open, input.driverQueue));
  } catch (error) {
    await CancellationScope.nonCancellable(giveBack);
    if (isCancellation(error)) throw error;
  }
  showInSearches(input.searchAttributes, { PaymentOutcome: outcomeOf(calls) });
  return { calls, slow };
}

/** The process that drives them waits for them; when it is gone, or dies at it, whoever serves the shared queue takes them over. */
async function stayWith(open: readonly string[], driverQueue: string): Promise<CallsProgress> {
  const driver = proxyActivities<GatewayActivities>({
    taskQueue: driverQueue, scheduleToStartTimeout: '5s', startToCloseTimeout: '15m', heartbeatTimeout: '15s',
    retry: { maximumAttempts: 1 },
    summary: `${open.length} slow ${open.length === 1 ? 'call' : 'calls'}, by the process that accepted them`,
  });
  const others = await driver.finishCalls({ callIds: open }).catch(unlessCancelled(null));
  return others ?? finishCalls({ callIds: open });
}

/** For a failure that something else follows; a cancellation stays one. */
function unlessCancelled<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (isCancellation(error)) throw error;
    return instead;
  };
}

function outcomeOf(calls: readonly CallLine[]): 'paid' | 'returned' | 'split' {
  const returned = calls.filter(({ outcome }) => outcome === 'returned').length;
  if (returned === 0) return 'paid';
  return returned === calls.length ? 'returned' : 'split';
}
