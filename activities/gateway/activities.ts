/** What the gateway's workflows may have done. One effect each, idempotent by the id of the call. */
import type { CallsProgress } from '../../domain/gateway-messages.ts';
import type { Driver } from './drive.ts';
import type { GatewayStore } from './store.ts';

export interface GatewayActivities {
  /** Waits a moment for calls that this process drives. */
  driveCalls(input: { readonly callIds: readonly string[] }): Promise<CallsProgress>;
  /** Stays with the calls until each is settled or released: the drives of this process, and of those that nobody else drives. */
  finishCalls(input: { readonly callIds: readonly string[] }): Promise<CallsProgress>;
  /**
   * Gives back what is open and driven by nobody who lives. `patiently`: waits for the end of what is driven, and takes over what is driven
   * no more.
   */
  releaseCalls(input: { readonly callIds: readonly string[]; readonly patiently: boolean }): Promise<CallsProgress>;
}

export interface GatewayActivityDeps {
  readonly driver: Driver;
  readonly store: GatewayStore;
  /** Says that a long activity is alive; throws when it was cancelled. */
  readonly heartbeat: (details: unknown) => void;
  /** Rejects when the activity was cancelled. */
  readonly sleep: (ms: number) => Promise<void>;
}

/** How long the first activity of a workflow waits for quick calls. Far below the time limit of a workflow task. */
const FIRST_WAIT_MS = 2_000;
/** How often the rows of calls are read that somebody else drives. */
const POLL_MS = 500;
/** A heartbeat comes at least so often. */
const SIGN_MS = 4_000;

export function createGatewayActivities({ driver, store, heartbeat, sleep }: GatewayActivityDeps): GatewayActivities {
  /** Waits for those of the calls that this process drives. */
  const endedHere = async (callIds: readonly string[]): Promise<void> =>
    void (await Promise.all(callIds.map((id) => driver.underWay(id) ?? Promise.resolve())));

  /** Repeats a round until every call has ended. */
  async function untilEnded(callIds: readonly string[], round: (open: readonly string[]) => Promise<void>): Promise<CallsProgress> {
    const ended = [];
    for (let open = callIds; ;) {
      heartbeat({ open: open.length });
      await round(open);
      const progress = await store.progressOf(open);
      ended.push(...progress.ended);
      open = progress.open;
      if (open.length === 0) return { ended, open };
      const allHere = open.every((id) => driver.underWay(id) !== undefined);
      await (allHere ? Promise.race([endedHere(open), sleep(SIGN_MS)]) : sleep(POLL_MS));
    }
  }

  const errorMessage = 'The call could not be finished in time and was given up.';
  const releaseUndriven = async (callIds: readonly string[]): Promise<void> => {
    const undriven = await store.takeOver(callIds);
    await Promise.all(undriven.map(({ id }) => store.release({ id, errorCode: 'proxy_failed', errorMessage, log: [] })));
  };

  return {
    async driveCalls({ callIds }) {
      await Promise.race([endedHere(callIds), sleep(FIRST_WAIT_MS)]);
      return store.progressOf(callIds);
    },
    finishCalls: ({ callIds }) => untilEnded(callIds, (open) => driver.adopt(open)),
    async releaseCalls({ callIds, patiently }) {
      if (patiently) return untilEnded(callIds, releaseUndriven);
      await releaseUndriven(callIds);
      return store.progressOf(callIds);
    },
  };
}
