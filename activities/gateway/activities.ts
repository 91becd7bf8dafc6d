/** What the gateway's workflows may have done. One effect each, idempotent by the id of the call. */
import type { Driver } from './drive.ts';
import type { GatewayStore } from './store.ts';

export interface GatewayActivities {
  /** Waits a moment for calls that are being driven, and drives those that nobody drives. Answers which are still open. */
  driveCalls(input: { callIds: readonly string[] }): Promise<{ open: string[] }>;
  /** Stays with the calls until each is settled or released. */
  finishCalls(input: { callIds: readonly string[] }): Promise<void>;
  /** Releases what is still open. */
  releaseCalls(input: { callIds: readonly string[] }): Promise<void>;
}

export interface GatewayActivityDeps {
  readonly driver: Driver;
  readonly store: GatewayStore;
  /** Says that a long activity is alive; throws when it was cancelled. */
  readonly heartbeat: (details: unknown) => void;
  readonly sleep: (ms: number) => Promise<void>;
}

/** How long the first activity of a workflow waits for quick calls. Far below the time limit of a workflow task. */
const FIRST_WAIT_MS = 2_000;
const POLL_MS = 500;

export function createGatewayActivities({ driver, store, heartbeat, sleep }: GatewayActivityDeps): GatewayActivities {
  /** Calls that this process drives need no question to the database. */
  const settledHere = async (callIds: readonly string[], timeoutMs: number): Promise<void> => {
    const ends = callIds.map((id) => driver.underWay(id)).filter((end) => end !== undefined);
    if (ends.length === 0) return;
    const late = new Promise<void>((resolve) => setTimeout(resolve, timeoutMs).unref());
    await Promise.race([Promise.all(ends), late]);
  };

  return {
    async driveCalls({ callIds }) {
      await settledHere(callIds, FIRST_WAIT_MS);
      const open = await store.openAmong(callIds);
      await driver.adopt(open);
      return { open };
    },

    async finishCalls({ callIds }) {
      let open = await store.openAmong(callIds);
      while (open.length > 0) {
        heartbeat({ open: open.length });
        await driver.adopt(open);
        await sleep(POLL_MS);
        open = await store.openAmong(open);
      }
    },

    async releaseCalls({ callIds }) {
      const open = await store.openAmong(callIds);
      const errorMessage = 'The call could not be finished in time and was given up.';
      await Promise.all(open.map((id) => store.release({ id, errorCode: 'proxy_failed', errorMessage, log: [] })));
    },
  };
}
