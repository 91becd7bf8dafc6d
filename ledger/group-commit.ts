/**
 * Group commit: requests that wait at the same moment share one statement and one commit. There is no timer; a lone request goes
 * at once, and while one statement runs the next group gathers behind it. Measured on 2 cores this moves several times more money
 * a second than one transaction each, because the disk flush and the round trip are shared (docs/performance.md).
 */

export interface GroupCommitOptions<Item, Result> {
  /** Largest group of one statement. */
  readonly itemsMax: number;
  /** What an item weighs in a statement; nothing when left out. A group ends with the item that brings it to `GROUP_BYTES`. */
  readonly bytesOf?: ((item: Item) => number) | undefined;
  /** Statements of groups that may run side by side. */
  readonly lanes: number;
  /** Runs one group in one transaction; answers in the order of the items. */
  readonly run: (items: readonly Item[]) => Promise<readonly Result[]>;
  /** Is this failure that of one item, so that the others should go on without it? Anything else fails the whole group. */
  readonly isItemError: (error: unknown) => boolean;
  /** Items of a group that are tried one by one keep their order. They wait for one another then. */
  readonly isOrdered?: boolean;
  readonly onGroup?: (size: number) => void;
}

/** @param alone not in a group: it was in the way of one before, such as an item whose account somebody else has locked. */
export type GroupCommit<Item, Result> = (item: Item, alone?: boolean) => Promise<Result>;

/** Answers of sellers may have megabytes each; two hundred of them in one statement would be more than the process has. */
export const GROUP_BYTES = 4 * 1024 * 1024;
/** Beside the lanes, so that an item that has to wait for a lock keeps nobody else waiting, nor takes all connections. */
const ALONE_AT_ONCE = 4;

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Makes a function that runs each item through a shared statement.
 * A group that fails because of one item is run again one by one, beside the groups that follow: a poisoned request harms nobody else.
 */
export function createGroupCommit<Item, Result>(options: GroupCommitOptions<Item, Result>): GroupCommit<Item, Result> {
  const { lanes, itemsMax, bytesOf, isItemError, isOrdered = false, onGroup } = options;
  const grouped: Waiting<Item, Result>[] = [];
  /** Each entry is done one item after the other. */
  const alone: Waiting<Item, Result>[][] = [];
  let running = 0;
  let runningAlone = 0;

  const runGroup = async (group: readonly Waiting<Item, Result>[]): Promise<void> => {
    try {
      const results = await options.run(group.map((waiting) => waiting.item));
      group.forEach((waiting, index) => waiting.resolve(results[index] as Result));
    } catch (error) {
      if (group.length > 1 && isItemError(error)) {
        alone.push(...(isOrdered ? [[...group]] : group.map((waiting) => [waiting])));
        pumpAlone();
      } else for (const waiting of group) waiting.reject(error);
    }
  };

  const nextGroup = (): Waiting<Item, Result>[] => {
    let size = 0;
    for (let bytes = 0; size < Math.min(itemsMax, grouped.length) && bytes < GROUP_BYTES; size += 1) {
      bytes += bytesOf?.((grouped[size] as Waiting<Item, Result>).item) ?? 0;
    }
    return grouped.splice(0, size);
  };

  const pump = (): void => {
    while (running < lanes && grouped.length > 0) {
      const group = nextGroup();
      onGroup?.(group.length);
      running += 1;
      void runGroup(group).finally(() => {
        running -= 1;
        pump();
      });
    }
  };

  const oneByOne = async (items: readonly Waiting<Item, Result>[]): Promise<void> => {
    for (const item of items) await runGroup([item]);
  };

  const pumpAlone = (): void => {
    while (runningAlone < ALONE_AT_ONCE && alone.length > 0) {
      runningAlone += 1;
      void oneByOne(alone.shift() ?? []).finally(() => {
        runningAlone -= 1;
        pumpAlone();
      });
    }
  };

  return (item, isAlone = false) =>
    new Promise<Result>((resolve, reject) => {
      if (isAlone) {
        alone.push([{ item, resolve, reject }]);
        pumpAlone();
        return;
      }
      grouped.push({ item, resolve, reject });
      // After the current turn of the event loop, so that requests read from sockets in one turn travel together.
      if (grouped.length === 1) setImmediate(pump);
      else if (running < lanes && grouped.length >= itemsMax) pump();
    });
}
