/** What the workflow of a long call may have done. One effect each, and twice is once. */
import type { Asked, LongCallReport, LongCallStepTask, LongCallTaken, LongCallTask } from '../../domain/long-call-messages.ts';
import { SuretyError } from '../../domain/errors.ts';
import { actOnLongCall, expireLongCall } from './act.ts';
import { askSellers, type AskDeps } from './ask.ts';
import { longFactOf, longViewOf } from './rows.ts';

export interface LongCallActivities {
  /** Where the call stands, and what has happened since the workflow looked. */
  readCall(task: LongCallTask): Promise<LongCallReport>;
  /** Asks its sellers in order, until one works on it, or all have said no. */
  askSeller(task: LongCallTask): Promise<Asked>;
  /** Takes a step that came by message: pays, gives back, or notes a sign of life. */
  takeStep(task: LongCallStepTask): Promise<LongCallTaken>;
  /** Gives the money back if the time of the seller is up, by the clock of the database. */
  giveBackOverdue(task: LongCallTask): Promise<LongCallReport>;
}

export interface LongCallActivityDeps extends AskDeps {
  /** What stands for an address in searches; undefined: the address itself. */
  readonly searchHash?: ((address: string) => string) | undefined;
  /** Says that a long activity is alive. */
  readonly heartbeat: (details: unknown) => void;
  /** Rejects when the activity was cancelled. */
  readonly sleep: (ms: number) => Promise<void>;
}

const HEARTBEAT_MS = 1_000;
/** A workflow shows fifty lines; what is older is in the books. */
const FACTS_MAX = 50;

export function createLongCallActivities(deps: LongCallActivityDeps): LongCallActivities {
  const { heartbeat, sleep, store } = deps;
  const reportOf = (task: LongCallTask): Promise<LongCallReport> => report(deps, task);

  return {
    readCall: reportOf,

    async askSeller(task) {
      const alive = setInterval(() => heartbeat({ asking: task.id }), HEARTBEAT_MS);
      try {
        const outcome = await askSellers(deps, task.id, { heard: true, tick: () => sleep(HEARTBEAT_MS) });
        return { ...(await reportOf(task)), outcome };
      } finally {
        clearInterval(alive);
      }
    },

    async takeStep({ input, by, ...task }) {
      const { refusal } = await actOnLongCall(store, task.id, input, { address: by ?? null }, true);
      deps.crash.at('long-ended');
      return { ...(await reportOf(task)), ...(refusal === null ? {} : { refusal }) };
    },

    async giveBackOverdue(task) {
      await expireLongCall(store, task.id, true);
      return reportOf(task);
    },
  };
}

async function report({ store, searchHash }: Pick<LongCallActivityDeps, 'store' | 'searchHash'>,
    { id, known }: LongCallTask): Promise<LongCallReport> {
  const row = await store.row(id);
  if (row === null) throw new SuretyError('not_found', 'There is no such long call.');
  // The row first: the events read after it are at least as far.
  const events = await store.events(id, Math.max(known, row.version - FACTS_MAX), FACTS_MAX);
  const view = longViewOf(row);
  return { view, facts: events.map(longFactOf), ...(searchHash === undefined ? {} : { sellerInSearches: searchHash(view.seller) }) };
}
