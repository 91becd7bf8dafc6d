/**
 * Drives payments: the workflow first, and nobody waits for it in vain. A request asks the payment's workflow to take the step; its activity
 * moves the money, and the request answers as soon as that is committed. When the workflow does not begin in time, the same function takes
 * the step here, under the same attempt: whichever comes second finds what the first one did (docs/decisions/workflow-first.md).
 */
import type { Taken, Taker } from '../activities/payment/take.ts';
import { SuretyError } from '../domain/errors.ts';
import type { IdempotencyClaim } from '../domain/gateway.ts';
import type { OpenRequest, StepRequest } from '../domain/payment-messages.ts';
import { decide, fundsOf, type Actor, type Opening, type Payment, type Refusal } from '../domain/payment.ts';
import type { PaymentStore } from '../ledger/payment-store.ts';
import type { Crash } from '../platform/crash.ts';
import type { Logger } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';
import { newId } from '../platform/random.ts';
import { workflowIdFor } from '../workflows/contracts/ids.ts';
import type { Attempts, ExpectedAttempt } from './attempts.ts';
import type { Capacity } from './capacity.ts';
import type { PaymentKeeper } from './keeper.ts';
import { aboutOf, type PaymentKind } from './kind.ts';
import { isTimeout, type Answer, type Messages } from './messages.ts';

/** What an agent asks to be opened; the rest is the platform's. */
export type NewPayment = Pick<Opening, 'buyer' | 'seller' | 'arbiter' | 'tenantId' | 'asset' | 'amountMicros' | 'terms' | 'lookup'>;

/** A payment as it is after a request, and whether an earlier one with the same idempotency key did it. */
export interface PaymentOutcome {
  readonly payment: Payment;
  readonly replayed: boolean;
}

export interface StepOrder {
  readonly id: string;
  readonly step: string;
  readonly actor: Actor;
  /** The fields of the HTTP route. */
  readonly input: unknown;
  readonly claim: IdempotencyClaim | null;
}

/** What the HTTP edge may ask of payments. What is answered is in the books, whether or not Temporal is up. */
export interface PaymentEngine {
  /** Holds the money and begins the payment. Errors: insufficient_balance, idempotency_mismatch, busy, unavailable. */
  open(kind: PaymentKind, wish: NewPayment, claim: IdempotencyClaim | null): Promise<PaymentOutcome>;
  /** Takes a step. Errors: not_found, what the kind's rules refuse, idempotency_mismatch, busy, unavailable. */
  step(kind: PaymentKind, order: StepOrder): Promise<PaymentOutcome>;
}

export interface EngineDeps {
  readonly store: PaymentStore;
  readonly taker: Taker;
  readonly messages: Messages;
  readonly keeper: PaymentKeeper;
  readonly attempts: Attempts;
  readonly capacity: Capacity;
  readonly metrics: Metrics;
  readonly crash: Crash;
  readonly log: Logger;
}

/** By then a step's activity has begun, or the request takes the step itself. */
const STEP_PATIENCE_MS = 300;
/** The same for an opening, whose workflow must be started first. */
const OPEN_PATIENCE_MS = 1_000;
/** An activity that has begun is waited for so long; then the database is asked from here. */
const BEGUN_PATIENCE_MS = 10_000;
/** After this nothing happens any more, whatever is still on its way. */
const NOT_AFTER_MS = 30_000;

export function createPaymentEngine(deps: EngineDeps): PaymentEngine {
  const { store, taker, messages, keeper, attempts, capacity, metrics, crash } = deps;

  /** What came of it, by whichever way it comes first: from the activity in this process, by Temporal's answer, or, too late, from here. */
  async function first(kind: PaymentKind, expected: ExpectedAttempt, answer: Promise<Answer>, patienceMs: number, direct: () => Promise<Taken>): Promise<Taken> {
    const joined = expected.ended.then((taken) => ({ kind: 'joined', taken }) as const);
    const late = lateUnlessBegun(expected, patienceMs);
    const came = await Promise.race([joined, answer, late.promise]).finally(late.clear);
    switch (came.kind) {
      case 'joined': return counted(kind, 'workflow', came.taken);
      case 'answered': {
        const found = await store.read(came.view.id);
        if (found !== null) return counted(kind, 'workflow', { kind: 'done', payment: found.payment, replayed: false, again: false });
        break;
      }
      // A replay or a refusal that its activity has put on record is the same from here.
      case 'late': capacity.timedOut(); break;
      case 'refused': case 'missing': case 'busy': break;
      case 'lost': if (isTimeout(came.error)) capacity.timedOut();
    }
    const taken = await direct();
    crash.at('payment-direct');
    return counted(kind, 'direct', taken);
  }

  function counted(kind: PaymentKind, path: 'workflow' | 'direct', taken: Taken): Taken {
    if (taken.kind === 'done' && !taken.replayed) metrics.paymentStep(kind.rules.kind, path);
    return taken;
  }

  function outcomeOf(kind: PaymentKind, taken: Taken): PaymentOutcome {
    if (taken.kind === 'refused') throw refusalError(kind, taken.refusal, taken.payment);
    return taken;
  }

  /** Sends the start, and hears when the payment is open. The place is given back when Temporal has nothing more to do for it. */
  async function startAndHear(kind: PaymentKind, opening: Opening, startId: string, open: OpenRequest, expected: ExpectedAttempt): Promise<Answer> {
    const { id, workflowId } = opening;
    try {
      const about = { id, ...aboutOf(opening) };
      const began = await messages.start({ kind, workflowId, startId, about, state: kind.rules.opens.to, open, view: null });
      capacity.answered();
      // Its first task runs here: its activity is heard of the moment it has committed.
      if (began === 'eager') return await expected.ended.then(() => new Promise<never>(() => undefined));
      return await messages.opened(workflowId);
    } catch (error) {
      return { kind: 'lost', error };
    }
  }

  return {
    async open(kind, wish, claim) {
      const claimOfBuyer = claim === null ? null : { ...claim, owner: wish.buyer };
      const { covered, claimed, nowMs } = await store.canOpen(wish, claim?.key ?? null);
      const id = newId(kind.id);
      const opening: Opening = { ...wish, id, workflowId: workflowIdFor(kind.workflow, id) };
      const expected = attempts.expect();
      const { attempt } = expected;
      const times = { askedAtMs: nowMs, notAfterMs: nowMs + NOT_AFTER_MS };
      const openHere = (messageSent: boolean) => taker.open(kind.rules, { ...times, opening, attempt, claim: claimOfBuyer, messageSent, workflowStarted: messageSent });
      try {
        // What will be refused, or was done before, needs no workflow; and where there is no room for one now, the keeper starts it.
        if (!covered || claimed || !capacity.take()) {
          const taken = counted(kind, 'direct', await openHere(false));
          crash.at('payment-direct');
          if (taken.kind === 'done' && !taken.replayed) keeper.soon(taken.payment.id);
          return outcomeOf(kind, taken);
        }
        const open: OpenRequest = { ...times, opening: { ...opening, amountMicros: opening.amountMicros.toString() }, claim: claimOfBuyer };
        const answer = startAndHear(kind, opening, attempt, open, expected);
        const taken = await first(kind, expected, answer, OPEN_PATIENCE_MS, () => openHere(true)).finally(() => capacity.release());
        if (taken.kind === 'done' && !taken.replayed) settleOpening(taken.payment, answer, expected);
        return outcomeOf(kind, taken);
      } finally {
        expected.forget();
      }
    },

    async step(kind, { id, step, actor, input, claim }) {
      const read: unknown = kind.rules.read(step, input);
      const found = await store.read(id);
      // The rules of one kind must never judge a payment of another.
      if (found === null || found.payment.kind !== kind.rules.kind) throw new SuretyError('not_found', `There is no such ${kind.rules.noun}.`);
      const { payment, nowMs } = found;
      const verdict = decide(kind.rules, payment, { step, actor, input: read }, nowMs);
      if (verdict.kind === 'refuse' && claim === null) throw refusalError(kind, verdict.refusal, payment);

      const owner = actor.address ?? actor.as ?? 'platform';
      const wish = { id, step, actor, input, notAfterMs: nowMs + NOT_AFTER_MS, claim: claim === null ? null : { ...claim, owner } };
      if (verdict.kind === 'refuse' || !payment.workflowStarted || !capacity.take()) {
        const taken = counted(kind, 'direct', await taker.step(kind.rules, { ...wish, attempt: null, messageSent: false, seen: found }));
        crash.at('payment-direct');
        if (taken.payment !== null) keeper.soon(id);
        return outcomeOf(kind, taken);
      }
      return outcomeOf(kind, await throughWorkflow(kind, payment, wish));
    },
  };

  /** Sends an update whose id is the attempt, and answers when its activity has committed. */
  async function throughWorkflow(kind: PaymentKind, payment: Payment, wish: Omit<StepRequest, 'seenVersion'> & { id: string; step: string; input: unknown }): Promise<Taken> {
    const { id, step, input, actor, notAfterMs, claim } = wish;
    const expected = attempts.expect();
    const { attempt } = expected;
    const request: StepRequest = { actor, seenVersion: payment.version, notAfterMs, claim };
    const answer = messages.step(payment.workflowId, step, { attempt, input, request });
    void answer.then((came) => {
      capacity.release();
      if (came.kind === 'answered' || came.kind === 'refused') capacity.answered();
      // Whatever was not heard of by Temporal itself stays noted, and the workflow is told of it.
      if (came.kind === 'answered') keeper.confirmed(id, came.view.version);
      else keeper.soon(id);
    });
    const direct = () => taker.step(kind.rules, { ...wish, attempt, messageSent: true });
    return first(kind, expected, answer, STEP_PATIENCE_MS, direct).finally(() => expected.forget());
  }

  /** When start and activity have both been heard of, the workflow knows the payment; otherwise it is told of it. */
  function settleOpening({ id, version }: Payment, answer: Promise<Answer>, expected: ExpectedAttempt): void {
    const heard = Promise.race([answer.then(({ kind }) => kind === 'answered'), expected.ended.then((taken) => taken.kind === 'done')]);
    void heard.then((knows) => (knows && version === 1 ? keeper.confirmed(id, 1) : keeper.soon(id)));
  }
}

/** Rejects never: resolves when the time is up and the activity has not begun, or has begun and does not come to an end. */
function lateUnlessBegun(expected: ExpectedAttempt, patienceMs: number): { readonly promise: Promise<{ readonly kind: 'late' }>; readonly clear: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const promise = new Promise<{ readonly kind: 'late' }>((resolve) => {
    timer = setTimeout(() => {
      if (expected.hasBegun()) timer = setTimeout(() => resolve({ kind: 'late' }), BEGUN_PATIENCE_MS);
      else resolve({ kind: 'late' });
    }, patienceMs);
  });
  return { promise, clear: () => clearTimeout(timer) };
}

/** A refusal as people get it: with where the payment and its money are, and 403 for the wrong role. */
function refusalError({ rules }: PaymentKind, { code, message }: Refusal, payment: Payment | null): SuretyError {
  if (code === 'unauthorized') return new SuretyError(code, message, { status: 403, recovery: 'Use a key of the party whose step this is.' });
  if (payment === null) return new SuretyError(code, message);
  return new SuretyError(code, message, { fundsStatus: fundsOf(rules, payment.state), body: { status: payment.state } });
}
