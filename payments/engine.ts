/**
 * Drives payments: the workflow first, and nobody waits for it in vain. A request asks the payment's workflow to take the step; its
 * activity moves the money, and the request answers as soon as that is committed. When the workflow does not begin in time, the same
 * function takes the step here, under the same attempt: whichever comes second finds what the first one did
 * (docs/decisions/workflow-first.md).
 */
import type { Found, Taken, Taker } from '../activities/payment/take.ts';
import { SuretyError } from '../domain/errors.ts';
import type { IdempotencyClaim } from '../domain/gateway.ts';
import type { OpenRequest, StepRequest } from '../domain/payment-messages.ts';
import { decide, fundsOf } from '../domain/decide.ts';
import type { Actor, Opening, Payment, Refusal } from '../domain/payment.ts';
import { newId } from '../platform/random.ts';
import { workflowIdFor } from '../workflows/contracts/ids.ts';
import type { Attempts, ExpectedAttempt } from './attempts.ts';
import type { PaymentKeeper } from './keeper.ts';
import { aboutOf, type PaymentKind } from './kind.ts';
import type { Answer, Messages } from './messages.ts';
import { createRacing, type RaceDeps, type Racing } from './race.ts';

/** What an agent asks to be opened; the rest is the platform's. */
export type NewPayment = Pick<Opening,
  'buyer' | 'seller' | 'arbiter' | 'tenantId' | 'asset' | 'amountMicros' | 'terms' | 'lookup' | 'parts'>;

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
  /**
   * Holds the money and begins the payment. Errors: insufficient_balance, idempotency_mismatch, busy, unavailable, and those of `check`.
   * @param check asked first, unless an earlier request has used this key: what was done then is answered, whatever has changed since.
   */
  open(kind: PaymentKind, wish: NewPayment, claim: IdempotencyClaim | null, check?: () => Promise<void>): Promise<PaymentOutcome>;
  /** Takes a step. Errors: not_found, what the kind's rules refuse, idempotency_mismatch, busy, unavailable. */
  step(kind: PaymentKind, order: StepOrder): Promise<PaymentOutcome>;
}

export interface EngineDeps extends RaceDeps {
  readonly taker: Taker;
  readonly messages: Messages;
  readonly keeper: PaymentKeeper;
  readonly attempts: Attempts;
}

/** By then a step's activity has begun, or the request takes the step itself. */
const STEP_PATIENCE_MS = 300;
/** The same for an opening, whose workflow must be started first. */
const OPEN_PATIENCE_MS = 1_000;
/** After this nothing happens any more, whatever is still on its way. */
const NOT_AFTER_MS = 30_000;

export function createPaymentEngine(deps: EngineDeps): PaymentEngine {
  const racing = createRacing(deps);
  return {
    open: async (kind, wish, claim, check) => outcomeOf(kind, await open(deps, racing, kind, { wish, claim, check })),
    step: (kind, order) => step(deps, racing, kind, order),
  };
}

async function open(
  { store, taker, messages, keeper, attempts, capacity }: EngineDeps,
  racing: Racing,
  kind: PaymentKind,
  { wish, claim: keyed, check }: { wish: NewPayment; claim: IdempotencyClaim | null; check: (() => Promise<void>) | undefined },
): Promise<Taken> {
  const claim = keyed === null ? null : { ...keyed, owner: wish.buyer };
  const { covered, claimed, nowMs } = await store.canOpen(wish, keyed?.key ?? null);
  if (!claimed) await check?.();
  const id = newId(kind.id);
  const opening: Opening = { ...wish, id, workflowId: workflowIdFor(kind.workflow, id) };
  const expected = attempts.expect();
  const { attempt } = expected;
  const times = { askedAtMs: nowMs, notAfterMs: nowMs + NOT_AFTER_MS };
  const openHere = (messageSent: boolean) =>
    taker.open(kind.rules, { ...times, opening, attempt, claim, messageSent, workflowStarted: messageSent });
  try {
    // What will be refused, or was done before, needs no workflow; and where there is no room for one now, the keeper starts it.
    if (!covered || claimed || !capacity.take()) {
      const taken = await racing.direct(kind, () => openHere(false));
      if (taken.kind === 'done' && !taken.replayed) keeper.soon(taken.payment.id);
      return taken;
    }
    const request: OpenRequest = { ...times, opening: { ...opening, amountMicros: opening.amountMicros.toString() }, claim };
    const answer = startAndHear({ messages, capacity }, kind, { opening, startId: attempt, request, expected });
    const race = { expected, answer, patienceMs: OPEN_PATIENCE_MS, direct: () => openHere(true) };
    const taken = await racing.first(kind, race).finally(() => capacity.release());
    if (taken.kind === 'done' && !taken.replayed) settleOpening(keeper, taken.payment, answer, expected);
    return taken;
  } finally {
    expected.forget();
  }
}

interface Starting {
  readonly opening: Opening;
  readonly startId: string;
  readonly request: OpenRequest;
  readonly expected: ExpectedAttempt;
}

/** Sends the start, and hears when the payment is open. Never rejects. */
async function startAndHear(
  { messages, capacity }: Pick<EngineDeps, 'messages' | 'capacity'>,
  kind: PaymentKind,
  { opening, startId, request, expected }: Starting,
): Promise<Answer> {
  const { id, workflowId } = opening;
  try {
    const began = await messages.start({
      kind,
      workflowId,
      startId,
      about: { id, ...aboutOf(opening) },
      state: kind.rules.opens.to,
      open: request,
      view: null,
    });
    capacity.answered();
    // Its first task runs here: its activity is heard of the moment it has committed, and nothing else needs to be asked.
    if (began === 'eager') return await expected.ended.then(() => new Promise<never>(() => undefined));
    return await messages.opened(workflowId);
  } catch (error) {
    return { kind: 'lost', error };
  }
}

/** When start and activity have both been heard of, the workflow knows the payment; otherwise it is informed. */
function settleOpening(keeper: PaymentKeeper, { id, version }: Payment, answer: Promise<Answer>, expected: ExpectedAttempt): void {
  const heard = Promise.race([answer.then(({ kind }) => kind === 'answered'), expected.ended.then((taken) => taken.kind === 'done')]);
  void heard.then((knows) => (knows && version === 1 ? keeper.confirmed(id, 1) : keeper.soon(id)));
}

async function step(
  deps: EngineDeps,
  racing: Racing,
  kind: PaymentKind,
  { id, step: name, actor, input, claim: keyed }: StepOrder,
): Promise<PaymentOutcome> {
  const { store, taker, keeper, capacity } = deps;
  const read: unknown = kind.rules.read(name, input);
  const found = await store.read(id);
  if (found === null || found.payment.kind !== kind.rules.kind) throw new SuretyError('not_found', `There is no such ${kind.rules.noun}.`);
  const { payment, nowMs } = found;
  const verdict = decide(kind.rules, payment, { step: name, actor, input: read }, nowMs);
  if (verdict.kind === 'refuse' && keyed === null) throw refusalError(kind, verdict.refusal, payment);

  const claim = keyed === null ? null : { ...keyed, owner: actor.address ?? actor.as ?? 'platform' };
  const wish = { id, step: name, actor, input, notAfterMs: nowMs + NOT_AFTER_MS, claim };
  if (verdict.kind !== 'refuse' && payment.workflowStarted && capacity.take())
    return outcomeOf(kind, await throughWorkflow(deps, racing, kind, found, wish));
  const taken = await racing.direct(kind, () => taker.step(kind.rules, { ...wish, attempt: null, messageSent: false, seen: found }));
  if (taken.event !== null) keeper.soon(id);
  return outcomeOf(kind, taken);
}

type Wish = Omit<StepRequest, 'seenVersion'> & { readonly id: string; readonly step: string; readonly input: unknown };

/** Sends an update whose id is the attempt, and answers when its activity has committed. */
async function throughWorkflow(
  { taker, messages, keeper, attempts, capacity }: EngineDeps,
  racing: Racing,
  kind: PaymentKind,
  seen: Found,
  wish: Wish,
): Promise<Taken> {
  const { id, step: name, input, actor, notAfterMs, claim } = wish;
  const expected = attempts.expect(seen);
  const { attempt } = expected;
  const request: StepRequest = { actor, seenVersion: seen.payment.version, notAfterMs, claim };
  const answer = messages.step(seen.payment.workflowId, name, { attempt, input, request });
  void answer.then((came) => {
    if (came.kind === 'answered' || came.kind === 'refused') capacity.answered();
    // Whatever Temporal itself has not heard of stays noted, and the workflow is informed of it.
    if (came.kind === 'answered') keeper.confirmed(id, came.view.version);
    else if (came.kind !== 'refused') keeper.soon(id);
    else if (came.version !== null) keeper.confirmed(id, came.version);
  });
  const direct = async () => {
    const taken = await taker.step(kind.rules, { ...wish, attempt, messageSent: true });
    if (taken.event !== null) keeper.soon(id);
    return taken;
  };
  return racing.first(kind, { expected, answer, patienceMs: STEP_PATIENCE_MS, direct }).finally(() => {
    expected.forget();
    capacity.release();
  });
}

function outcomeOf(kind: PaymentKind, taken: Taken): PaymentOutcome {
  if (taken.kind === 'refused') throw refusalError(kind, taken.refusal, taken.payment);
  return taken;
}

/** A refusal as people get it: with where the payment and its money are, and 403 for the wrong role. */
function refusalError({ rules }: PaymentKind, { code, message }: Refusal, payment: Payment | null): SuretyError {
  if (code === 'unauthorized')
    return new SuretyError(code, message, { status: 403, recovery: 'Use a key of the party whose step this is.' });
  if (payment === null) return new SuretyError(code, message);
  return new SuretyError(code, message, { fundsStatus: fundsOf(rules, payment.state), body: { status: payment.state } });
}
