/**
 * Compares open payments with the workflows that run: one that should have a workflow and has none, because somebody ended it or Temporal
 * lost its data, is noted, and the keeper of whichever process comes first starts it from its row. Deadlines do not depend on this.
 */
import type { Notices } from '../ledger/notices.ts';
import type { PaymentStore } from '../ledger/payment-store.ts';
import type { Messages } from './messages.ts';

export interface ComparisonDeps {
  readonly store: PaymentStore;
  readonly notices: Notices;
  readonly messages: Pick<Messages, 'running'>;
}

/** As many as one query of Temporal's visibility takes. */
const PAGE = 100;
/** Searches lag behind by seconds; what is younger is the business of whoever opened it. */
const AGE_MS = 60_000;

/** Returns one round over all open payments of these kinds. @returns how many had no workflow. */
export function createComparison({
  store,
  notices,
  messages,
}: ComparisonDeps): (kinds: readonly string[], ageMs?: number) => Promise<number> {
  return async (kinds, ageMs = AGE_MS) => {
    let missing = 0;
    for (let after = ''; ;) {
      const page = await store.openAfter(kinds, { after, ageMs, limit: PAGE });
      const running = page.length === 0 ? new Set<string>() : await messages.running(page.map(({ workflowId }) => workflowId));
      const lost = page.filter(({ workflowId }) => !running.has(workflowId)).map(({ id }) => id);
      if (lost.length > 0) await notices.note(lost);
      missing += lost.length;
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return missing;
      after = last.id;
    }
  };
}
