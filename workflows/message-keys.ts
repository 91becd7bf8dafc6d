/** The idempotency keys of steps that come by message: the same however often a task is tried, and in whatever order handlers ran. */
import { currentUpdateInfo, uuid4 } from '@temporalio/workflow';

interface Carried {
  /** Random, made by whoever starts the first run and handed to those that follow: with it, signals of this life have keys of their own. */
  readonly startId?: string;
  /** Signals of each name that earlier runs of this life have taken. */
  readonly signalsTaken?: Readonly<Record<string, number>>;
}

export interface MessageKeys {
  /** Of the update whose handler runs now. */
  ofUpdate(): string;
  /** Of the signal whose handler begins now; must be asked for before the handler awaits anything. */
  ofSignal(name: string): string;
  /** For the next run of the same life. */
  carriedOver(): Required<Carried>;
}

/**
 * An update has an id. A signal has none, so it is numbered by its order in the history, among those of its name: a new attempt of a task
 * may find more messages than the one before, and then runs handlers of another name, or of updates, in between. The ids of run and
 * activity are of no use, because the one changes with a reset, and the other follows the order in which handlers ran.
 */
export function createMessageKeys({ startId = uuid4(), signalsTaken = {} }: Carried): MessageKeys {
  const taken: Record<string, number> = { ...signalsTaken };
  return {
    ofUpdate: () => `update ${currentUpdateInfo()?.id ?? ''}`,
    ofSignal(name) {
      const number = (taken[name] ?? 0) + 1;
      taken[name] = number;
      return `signal ${startId} ${name} ${number}`;
    },
    carriedOver: () => ({ startId, signalsTaken: { ...taken } }),
  };
}
