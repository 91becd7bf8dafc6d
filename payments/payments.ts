/** Payments in this process: what the HTTP edge may ask, the activities of their workflows, and the work that stands behind them. */
import type pg from 'pg';
import { createPaymentActivities, viewOf, type PaymentActivities } from '../activities/payment/activities.ts';
import { createTaker } from '../activities/payment/take.ts';
import { isEnd } from '../domain/decide.ts';
import type { AnyRules, Payment } from '../domain/payment.ts';
import { sessionRules } from '../domain/session.ts';
import { writePaymentStates } from '../ledger/payment-states.ts';
import type { PaymentEvent } from '../ledger/payment-rows.ts';
import { createPaymentStore, type PaymentStore } from '../ledger/payment-store.ts';
import type { Crash } from '../platform/crash.ts';
import type { Logger } from '../platform/log.ts';
import { paymentOutcomes, type LongPayment, type Metrics, type PaymentOutcome as EndState, type SessionEnd } from '../platform/metrics.ts';
import { createAttempts, newAttempt } from './attempts.ts';
import { createComparison } from './comparison.ts';
import { createPaymentEngine, type PaymentEngine } from './engine.ts';
import type { Family, Subject } from './keeper.ts';
import type { PaymentKind } from './kind.ts';
import { paymentKinds } from './kinds.ts';
import type { Messages } from './messages.ts';
import type { Spine } from './spine.ts';
import { createSweeper } from './sweeper.ts';

/** What the HTTP edge may ask. Reads come from rows, so they answer long after Temporal has forgotten. Errors of reads: unavailable. */
export interface Payments extends PaymentEngine {
  read(id: string): Promise<Payment | null>;
  /** Payments of a kind in which an agent takes part, newest first, after this one. `more`: there are others behind them. */
  listOf(
    kind: PaymentKind,
    address: string,
    page: { readonly after: string | null; readonly limit: number },
  ): Promise<{ readonly payments: readonly Payment[]; readonly more: boolean }>;
  /** In the order of the ids; those that are not there are left out. */
  byIds(ids: readonly string[]): Promise<readonly Payment[]>;
  /** The payment whose secret has this keyed hash. */
  idByLookup(kind: PaymentKind, lookup: string): Promise<string | null>;
  /** What has happened to a payment, oldest first. */
  eventsOf(id: string): Promise<readonly PaymentEvent[]>;
  /** Ends every payment of the kind whose deadline has passed. @returns how many ended. */
  closeExpired(kind: PaymentKind): Promise<number>;
}

/** A round of work in the background. */
interface Round {
  readonly name: string;
  readonly everyMs: number;
  readonly run: () => Promise<void>;
}

export interface PaymentsOfProcess {
  readonly port: Payments;
  activitiesOf(kind: PaymentKind): PaymentActivities<string>;
  /** For processes that serve the queue of one of these kinds. */
  jobsOf(kinds: readonly PaymentKind[]): readonly Round[];
}

export interface PaymentsDeps {
  readonly pool: pg.Pool;
  /** For lists. */
  readonly reads: pg.Pool;
  readonly metrics: Metrics;
  readonly crash: Crash;
  readonly log: Logger;
  readonly spine: Spine;
}

const SWEEP_EVERY_MS = 2_000;
/** The workflow's timer comes first. */
const DEADLINE_GRACE_MS = 10_000;
const LEASE_MS = 30_000;
const COMPARE_EVERY_MS = 3_600_000;

/** What the keeper needs of payments of the engine. */
export function paymentFamily(store: PaymentStore, messages: Messages): Family<Payment & Subject> {
  return {
    kinds: paymentKinds.map(({ rules }) => rules.kind),
    async read(id) {
      const payment = (await store.read(id))?.payment;
      return payment === undefined ? null : { ...payment, ended: payment.deadlineMs === null };
    },
    markStarted: (id) => store.markStarted([id]),
    starting: (payment) => {
      const kind = paymentKinds.find(({ rules }) => rules.kind === payment.kind);
      if (kind === undefined) throw new Error(`There is no kind of payment named ${payment.kind}.`);
      const { workflowId, state } = payment;
      return Promise.resolve(() =>
        messages.start({ kind, workflowId, startId: newAttempt(), about: payment, state, open: null, view: viewOf(payment) }));
    },
  };
}

/** Rejects when Postgres does not answer. */
export async function createPayments({ pool, reads, metrics, crash, log, spine }: PaymentsDeps): Promise<PaymentsOfProcess> {
  await writePaymentStates(
    pool,
    paymentKinds.map(({ rules }) => rules),
  );
  const { notices, messages, capacity, searchHash } = spine;
  const store = createPaymentStore({ pool, metrics });
  const lists = createPaymentStore({ pool: reads, metrics });
  const taker = createTaker({ store, onApplied: (rules, payment) => count(metrics, rules, payment) });
  const attempts = createAttempts();
  const keeper = spine.keeper.of(paymentFamily(store, messages));
  const engine = createPaymentEngine({ store, taker, messages, keeper, attempts, capacity, metrics, crash });
  const compare = createComparison({ store, notices, messages });
  const sweep = createSweeper({
    store,
    taker,
    keeper,
    failed: (error, id) => log.warn({ err: error, paymentId: id }, 'A payment whose time is up could not be ended; it is tried again.'),
  });

  async function byIds(ids: readonly string[]): Promise<Payment[]> {
    const found = new Map((await lists.byIds(ids)).map((payment) => [payment.id, payment]));
    return ids.flatMap((id) => found.get(id) ?? []);
  }

  const port: Payments = {
    ...engine,
    read: async (id) => (await store.read(id))?.payment ?? null,
    byIds,
    async listOf({ rules }, address, { after, limit }) {
      const ids = await lists.idsOf(rules.kind, address, { after, limit: limit + 1 });
      return { payments: await byIds(ids.slice(0, limit)), more: ids.length > limit };
    },
    idByLookup: ({ rules }, lookup) => store.idByLookup(rules.kind, lookup),
    eventsOf: (id) => store.eventsAfter(id, 0),
    closeExpired: (kind) => sweep([kind], { graceMs: 0, leaseMs: 0 }),
  };
  return {
    port,
    activitiesOf: ({ rules }) => createPaymentActivities({ rules, taker, store, attempts, crash, searchHash }),
    jobsOf: (kinds) => [
      {
        name: 'payments',
        everyMs: SWEEP_EVERY_MS,
        run: async () => void (await sweep(kinds, { graceMs: DEADLINE_GRACE_MS, leaseMs: LEASE_MS })),
      },
      { name: 'payment-workflows', everyMs: COMPARE_EVERY_MS, run: async () => void (await compare(kinds.map(({ rules }) => rules.kind))) },
    ],
  };
}

/** Each beginning and each end once, by the process in which it happened. */
function count(metrics: Metrics, rules: AnyRules, { version, state, workflowStarted }: Payment): void {
  if (rules.kind === sessionRules.kind && version === 1) metrics.sessionOpened();
  if (rules.kind === sessionRules.kind && isEnd(rules, state)) metrics.sessionEnded(state as SessionEnd);
  const kind = rules.kind as LongPayment;
  if (!(kind in paymentOutcomes)) return;
  if (version === 1) metrics.paymentBegun(kind);
  if (!isEnd(rules, state)) return;
  metrics.paymentEnded(kind, state as EndState<typeof kind>);
  metrics.paymentLifeEnded(kind, workflowStarted ? 'started' : 'unstarted');
}
