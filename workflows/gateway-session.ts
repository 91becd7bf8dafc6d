/** One budget session: it waits to be closed or to expire, and then gives back what nobody needs. */
import { allHandlersFinished, condition, proxyLocalActivities, setHandler } from '@temporalio/workflow';
import type { GatewayActivities } from '../activities/gateway/activities.ts';
import { closeSignal, closeUpdate, sessionViewQuery, type GatewaySessionInput,
  type GatewaySessionView } from './contracts/gateway-session.ts';
import { showInSearches } from './search-attributes.ts';

// Local: one quick statement, idempotent, and the history stays short. Tried until it works, because money waits for it.
const { closeSession } =
  proxyLocalActivities<GatewayActivities>({ startToCloseTimeout: '5s', retry: { initialInterval: '200ms', maximumInterval: '30s' } });

export async function gatewaySession(input: GatewaySessionInput): Promise<GatewaySessionView> {
  const { sessionId } = input;
  let state: GatewaySessionView['state'] = input.closeNow === true ? 'closing' : 'active';
  const view = (): GatewaySessionView => ({ sessionId, state });
  const askToClose = (): void => {
    if (state === 'active') state = 'closing';
  };
  setHandler(sessionViewQuery, view);
  setHandler(closeSignal, askToClose);
  setHandler(closeUpdate, async () => {
    askToClose();
    await condition(() => state === 'closed' || state === 'expired');
    return view();
  });

  const asked = await condition(() => state === 'closing', Math.max(1, input.expiresAtMs - Date.now()));
  const ending = asked ? 'closed' : 'expired';
  await closeSession({ sessionId, ending });
  state = ending;
  showInSearches(input.searchAttributes, { PaymentState: ending });
  await condition(allHandlersFinished);
  return view();
}
