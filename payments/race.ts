/**
 * Whichever way a request's attempt comes to its end first: its activity in this process, Temporal's answer, or, when both are late, from
 * here.
 */
import type { Taken } from '../activities/payment/take.ts';
import type { PaymentStore } from '../ledger/payment-store.ts';
import type { Crash } from '../platform/crash.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { ExpectedAttempt } from './attempts.ts';
import type { Capacity } from './capacity.ts';
import type { PaymentKind } from './kind.ts';
import { isTimeout, type Answer } from './messages.ts';

export interface RaceDeps {
  readonly store: PaymentStore;
  readonly capacity: Capacity;
  readonly metrics: Metrics;
  readonly crash: Crash;
}

export interface Race {
  /** An attempt whose message was sent. */
  readonly expected: ExpectedAttempt;
  readonly answer: Promise<Answer>;
  /** By then its activity has begun, or the step is taken from here. */
  readonly patienceMs: number;
  /** Takes the step from here, under the same attempt: what an activity has done or refused meanwhile comes out the same. */
  readonly direct: () => Promise<Taken>;
}

export interface Racing {
  /** What came of an attempt. Errors: those of taking it. */
  first(kind: PaymentKind, race: Race): Promise<Taken>;
  /** A step that nothing was sent for. */
  direct(kind: PaymentKind, take: () => Promise<Taken>): Promise<Taken>;
}

/** An activity that has begun is waited for so long; then the database is asked from here. */
const BEGUN_PATIENCE_MS = 10_000;

export function createRacing({ store, capacity, metrics, crash }: RaceDeps): Racing {
  function counted(kind: PaymentKind, path: 'workflow' | 'direct', taken: Taken): Taken {
    if (taken.kind === 'done' && !taken.replayed) metrics.paymentStep(kind.rules.kind, path);
    return taken;
  }

  async function direct(kind: PaymentKind, take: () => Promise<Taken>): Promise<Taken> {
    const taken = counted(kind, 'direct', await take());
    crash.at('payment-direct');
    return taken;
  }

  return {
    direct,
    async first(kind, { expected, answer, patienceMs, direct: take }) {
      const joined = expected.ended.then((taken) => ({ kind: 'joined', taken }) as const);
      const late = lateUnlessBegun(expected, patienceMs);
      const came = await Promise.race([joined, answer, late.promise]).finally(late.clear);
      switch (came.kind) {
        case 'joined':
          return counted(kind, 'workflow', came.taken);
        case 'answered': {
          const found = await store.read(came.view.id);
          if (found !== null)
            return counted(kind, 'workflow', { kind: 'done', payment: found.payment, event: null, replayed: false, again: false });
          break;
        }
        case 'late':
          capacity.timedOut();
          break;
        case 'lost':
          if (isTimeout(came.error)) capacity.timedOut();
          break;
        // A refusal that its activity has put on record is the same from here; so is the replay of an earlier request.
        case 'refused':
        case 'missing':
        case 'busy':
      }
      return direct(kind, take);
    },
  };
}

/** Never rejects: resolves when the time is up and the activity has not begun, or has begun and does not come to an end. */
function lateUnlessBegun(
  expected: ExpectedAttempt,
  patienceMs: number,
): { readonly promise: Promise<{ readonly kind: 'late' }>; readonly clear: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const promise = new Promise<{ readonly kind: 'late' }>((resolve) => {
    timer = setTimeout(() => {
      if (expected.hasBegun()) timer = setTimeout(() => resolve({ kind: 'late' }), BEGUN_PATIENCE_MS);
      else resolve({ kind: 'late' });
    }, patienceMs);
  });
  return { promise, clear: () => clearTimeout(timer) };
}
