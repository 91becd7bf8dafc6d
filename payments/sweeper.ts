/** Ends what is overdue, whatever happened to Temporal: one sweeper for all kinds, and N processes share the work by leases. */
import type { Taker } from '../activities/payment/take.ts';
import type { PaymentStore } from '../ledger/payment-store.ts';
import type { PaymentKeeper } from './keeper.ts';
import type { PaymentKind } from './kind.ts';

export interface SweeperDeps {
  readonly store: PaymentStore;
  readonly taker: Taker;
  readonly keeper: PaymentKeeper;
  readonly failed: (error: unknown, id: string) => void;
}

export interface SweepOptions {
  /** How long after the deadline; a workflow's timer comes first. */
  readonly graceMs: number;
  /** For how long others leave what this process has claimed alone; 0: whatever others have claimed, it is done now. */
  readonly leaseMs: number;
}

const AT_ONCE = 200;

/** Returns a function that has every overdue payment of these kinds ended by its rules, and says how many that were. */
export function createSweeper({
  store,
  taker,
  keeper,
  failed,
}: SweeperDeps): (kinds: readonly PaymentKind[], options: SweepOptions) => Promise<number> {
  /** One that cannot be ended holds up no other. */
  async function endOne(kind: PaymentKind | undefined, id: string): Promise<number> {
    if (kind === undefined) return 0;
    try {
      const taken = await taker.clock(kind.rules, id);
      // Also where the deadline was only moved on: a workflow that let it pass may be lost, and hearing of its payment brings it back.
      keeper.soon(id);
      return taken === null ? 0 : 1;
    } catch (error) {
      failed(error, id);
      return 0;
    }
  }

  return async (kinds, { graceMs, leaseMs }) => {
    for (let total = 0; ;) {
      const claimed = await store.claimOverdue(
        kinds.map(({ rules }) => rules.kind),
        { graceMs, leaseMs, limit: AT_ONCE },
      );
      let ended = 0;
      for (const { id, kind } of claimed)
        ended += await endOne(
          kinds.find(({ rules }) => rules.kind === kind),
          id,
        );
      total += ended;
      // A full round that ended nothing would be followed by the same one.
      if (claimed.length < AT_ONCE || ended === 0) return total;
    }
  };
}
