/**
 * The promise behind accepted calls: each will be settled or released, whatever becomes of the process that accepted it. Nearly
 * always the head start of that process has finished before this workflow looks.
 */
import { CancellationScope, isCancellation, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { GatewayActivities } from '../activities/gateway/activities.ts';
import type { GatewayCallsInput, GatewayCallsResult } from './contracts/gateway-calls.ts';

// Joins the drives of this process. It gives up waiting by itself well before a workflow task would time out.
const { driveCalls } = proxyLocalActivities<GatewayActivities>({ startToCloseTimeout: '8s', retry: { maximumAttempts: 3 } });
// Slow sellers, and calls whose process is gone.
const { finishCalls } = proxyActivities<GatewayActivities>({
  startToCloseTimeout: '5m', heartbeatTimeout: '15s', scheduleToCloseTimeout: '15m',
  retry: { initialInterval: '500ms', maximumInterval: '10s' },
});
// The compensation: tried until it works.
const { releaseCalls } =
  proxyActivities<GatewayActivities>({ startToCloseTimeout: '30s', retry: { initialInterval: '1s', maximumInterval: '1m' } });

export async function gatewayCalls({ callIds }: GatewayCallsInput): Promise<GatewayCallsResult> {
  // Said before anything is done: calls that are neither settled nor released when this ends badly are given back to their buyers.
  const giveBack = (): Promise<void> => CancellationScope.nonCancellable(() => releaseCalls({ callIds }));
  try {
    const { open } = await driveCalls({ callIds });
    if (open.length > 0) await finishCalls({ callIds: open });
    return { slow: open.length };
  } catch (error) {
    await giveBack();
    if (isCancellation(error)) throw error;
    return { slow: callIds.length };
  }
}
