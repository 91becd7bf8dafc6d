/** What the workflow of a payment has done: one activity for each step of its kind, each of which decides and moves the money in one go. */
import { SuretyError } from '../../domain/errors.ts';
import { formatMicros, micros } from '../../domain/money.ts';
import type { Actor, AnyRules, Part, Payment, Role } from '../../domain/payment.ts';
import { roles } from '../../domain/payment.ts';
import { fieldsOf, wrongField } from '../../domain/step-input.ts';
import type { PaymentEvent } from '../../ledger/payment-rows.ts';
import type { PaymentStore } from '../../ledger/payment-store.ts';
import type { Crash } from '../../platform/crash.ts';
import type { ClockTask, OpenTask, PaymentFact, PaymentReport, PaymentView, StepTask } from '../../domain/payment-messages.ts';
import type { Attempt, Found, Taken, Taker } from './take.ts';

/** The activities of a kind whose steps are these. */
export type PaymentActivities<Step extends string> = Readonly<Record<Step, (task: StepTask) => Promise<PaymentReport>>> & {
  /** Holds the money and writes the payment. */
  open(task: OpenTask): Promise<PaymentReport>;
  /** Does what the clock demands, if the database's clock says that the time is up. */
  expire(task: ClockTask): Promise<PaymentReport>;
  /** Reads what has happened without the workflow. */
  catchUp(task: ClockTask): Promise<PaymentReport>;
};

/** Whoever waits in this process for an attempt that an activity takes hears of it from here, and not only by way of Temporal. */
export interface AttemptListener {
  /** @returns where the payment was when the request looked, which is not long ago; undefined for attempts from elsewhere. */
  begun(attempt: string): Found | undefined;
  ended(attempt: string, taken: Taken): void;
}

export interface PaymentActivityDeps {
  readonly rules: AnyRules;
  readonly taker: Taker;
  readonly store: PaymentStore;
  readonly attempts: AttemptListener;
  readonly crash: Crash;
  /** How a seller is written in searches, where that is not by the address: workflows have no key. */
  readonly searchHash?: ((address: string) => string) | undefined;
}

/** What an activity has found or done. */
interface Reported {
  readonly payment: Payment | null;
  readonly refusal?: PaymentReport['refusal'];
  readonly event?: PaymentEvent | null;
}

/** So much of what somebody said is shown in Temporal; the whole of it is in the books. */
const NOTE_SHOWN = 200;

export function createPaymentActivities<Step extends string>({
  rules,
  taker,
  store,
  attempts,
  crash, searchHash,
}: PaymentActivityDeps): PaymentActivities<Step> {
  async function report(id: string, known: number, { payment, refusal, event = null }: Reported): Promise<PaymentReport> {
    const facts =
      payment === null || payment.version <= known
        ? []
        : (event?.version === known + 1 ? [event] : await store.eventsAfter(id, known)).map(factOf);
    return { ...standing(payment, searchHash), facts, ...(refusal === undefined ? {} : { refusal }) };
  }

  /** Lets those who wait in this process know at once, before Temporal does. */
  async function attempted(
    { id, attempt, known }: { id: string; attempt: string; known: number },
    take: (seen?: Found) => Promise<Taken>,
  ): Promise<PaymentReport> {
    const taken = await take(attempts.begun(attempt)).catch((error: unknown) => refusedBy(error));
    crash.at('payment-committed');
    attempts.ended(attempt, taken);
    crash.at('payment-answered');
    if (taken.kind === 'refused' || !taken.replayed) return report(id, known, taken);
    // The money was held for another payment, by an earlier request with the same key: this one is none.
    return {
      ...standing(taken.payment.id === id ? taken.payment : null, searchHash),
      facts: [],
      refusal: { code: 'invalid_state', message: `An earlier request with this key made ${taken.payment.id}.` },
    };
  }

  const step =
    (name: string) =>
    (task: StepTask): Promise<PaymentReport> =>
      attempted(task, async (seen) => {
        const { id, attempt, input, request } = task;
        const common: Attempt = { attempt, notAfterMs: request?.notAfterMs ?? null, claim: request?.claim ?? null, messageSent: true };
        return taker.step(rules, { ...common, id, seen, step: name, input, actor: request?.actor ?? operatorOf(rules, name, input) });
      });
  const steps = Object.fromEntries(Object.keys(rules.steps).map((name) => [name, step(name)])) as Record<Step, ReturnType<typeof step>>;

  return {
    ...steps,
    open: (task: OpenTask) =>
      attempted(task, () => {
        crash.at('payment-opening');
        const { opening, askedAtMs, notAfterMs, claim } = task.open;
        const whole = { ...opening, amountMicros: micros(opening.amountMicros) };
        return taker.open(rules, {
          opening: whole,
          askedAtMs,
          notAfterMs,
          claim,
          attempt: task.attempt,
          messageSent: true,
          workflowStarted: true,
        });
      }),
    async expire({ id, known }: ClockTask) {
      await taker.clock(rules, id);
      crash.at('payment-expired');
      return report(id, known, { payment: await paymentOf(id) });
    },
    async catchUp({ id, known }: ClockTask) {
      return report(id, known, { payment: await paymentOf(id) });
    },
  };

  async function paymentOf(id: string): Promise<Payment> {
    const found = await store.read(id);
    if (found === null) throw new SuretyError('not_found', `There is no such ${rules.noun}.`);
    return found.payment;
  }
}

/** What is wrong with the request itself is an answer; what is wrong with us is tried again. */
function refusedBy(error: unknown): Taken {
  if (!(error instanceof SuretyError) || error.retryable) throw error;
  return { kind: 'refused', payment: null, event: null, refusal: { code: error.code, message: error.message } };
}

/** Operators act for the party whose step it is, or for the one they name in `by`. */
function operatorOf(rules: AnyRules, step: string, input: unknown): Actor {
  const named = fieldsOf(input)['by'];
  const as: Role | null =
    named === undefined ? (rules.steps[step]?.operator ?? null) : (roles.find((role) => role === named && role !== 'clock') ?? null);
  if (as === null) throw wrongField('by', `must be one of ${roles.filter((role) => role !== 'clock').join(', ')}`);
  return { address: null, as };
}

/** Where it stands, with what of it is written into searches. */
function standing(payment: Payment | null, searchHash: PaymentActivityDeps['searchHash']):
    Pick<PaymentReport, 'view' | 'sellerInSearches'> {
  const seller = payment?.seller ?? null;
  return {
    view: payment === null ? null : viewOf(payment),
    ...(searchHash === undefined || seller === null ? {} : { sellerInSearches: searchHash(seller) }),
  };
}

/** What the workflow needs of a row. */
export function viewOf({ id, version, state, deadlineMs, seller, resolution, parts, returnedMicros }: Payment): PaymentView {
  const [ended, returned] = [deadlineMs === null, formatMicros(returnedMicros)];
  const paid = ended && parts.length > 0 ? { paid: paidOf(parts) } : {};
  return { id, version, state, ended, deadlineMs, seller, resolution, returned, ...paid };
}

/** What each payee of these parts was paid, in their order. */
function paidOf(parts: readonly Part[]): NonNullable<PaymentView['paid']> {
  const sums = new Map<string, bigint>();
  for (const { payee, amountMicros, paidAtMs } of parts) if (paidAtMs !== null) sums.set(payee, (sums.get(payee) ?? 0n) + amountMicros);
  return [...sums].map(([to, sum]) => ({ to, amount: formatMicros(sum) }));
}

function factOf(event: PaymentEvent): PaymentFact {
  const { version, step, role, by, state, atMs, heldMicros, paidMicros, returnedMicros, payee, resolution, note } = event;
  const amount = (name: string, moved: bigint) => (moved === 0n ? {} : { [name]: formatMicros(moved) });
  return {
    version,
    step,
    role,
    by,
    state,
    atMs,
    ...amount('held', heldMicros),
    ...amount('paid', paidMicros),
    ...amount('returned', returnedMicros),
    ...(payee === null ? {} : { payee }),
    ...(resolution === null ? {} : { resolution }),
    ...(note === null ? {} : { note: note.slice(0, NOTE_SHOWN) }),
  };
}
