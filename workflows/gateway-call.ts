/**
 * One long call: its money was held when it was accepted; a seller is asked, which may take up to a day, and is paid when it has delivered.
 * What it does not deliver in its own time goes back to the buyer.
 */
import { CancellationScope, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { LongCallActivities } from '../activities/long-call/activities.ts';
import type { GatewayCallInput, GatewayCallResult } from '../domain/long-call-messages.ts';
import { followLongCall } from './gateway-call-follow.ts';
import { patiently, quickly } from './payment.ts';

const quick = proxyLocalActivities<LongCallActivities>(quickly);
const patient = proxyActivities<LongCallActivities>(patiently);

export async function gatewayCall(input: GatewayCallInput): Promise<GatewayCallResult> {
  const call = followLongCall(input, { quick, patient });
  // Cancelling the workflow is the wish of an operator to cancel the call, which the rules may refuse; nothing is cut off in the middle.
  return CancellationScope.nonCancellable(async () => {
    await call.findAccepted();
    // Said before anybody is asked: whatever becomes of the seller, at its time the money goes back.
    const giveBack = call.registersGiveBack();
    await call.askSellers();
    while (!call.hasEnded()) if ((await call.nextEvent()) === 'deadline') await giveBack();
    return call.result();
  });
}
