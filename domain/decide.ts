/**
 * Reads the rules of a payment: what becomes of it when somebody wants to take a step, or when its time is up. Knows no clock, no database
 * and no Temporal, so it runs in an activity, in a request, in a test, and in a workflow's validator.
 */
import type { ErrorCode, FundsStatus } from './errors.ts';
import { formatMicros } from './money.ts';
import type {
  Actor, AnyRules, Choice, ClockVerdict, Context, Decision, Move, Opening, Payment, Refusal, Role, Transition, Verdict,
} from './payment.ts';

/** Has this state of the kind nothing after it? */
export function isEnd(rules: AnyRules, state: string): boolean {
  const rule = rules.states[state];
  return rule !== undefined && 'end' in rule;
}

/** Where the money of a payment in this state is. */
export function fundsOf(rules: AnyRules, state: string): FundsStatus {
  return rules.states[state]?.funds ?? 'no_change';
}

/** Opens a payment: its money is held and its first state begins. */
export function decideOpening(rules: AnyRules, { amountMicros, terms, buyer }: Opening, nowMs: number): Decision {
  const { to, details } = rules.opens;
  const deadlineMs = deadlineOf(rules, to, { terms, details: {} }, nowMs);
  return {
    step: 'open',
    role: 'buyer',
    by: buyer,
    to,
    deadlineMs,
    isDue: null,
    moves: [{ move: 'hold', amountMicros }],
    resolution: null,
    details: details?.(deadlineMs) ?? {},
    note: null,
    seller: null,
    meter: null,
  };
}

/** What becomes of a payment when somebody wants to take a step now. Roles come first, then the clock, then the state. */
export function decide(
  rules: AnyRules,
  payment: Payment,
  wish: { readonly step: string; readonly actor: Actor; readonly input: unknown },
  nowMs: number,
): Verdict {
  const { step, actor, input } = wish;
  const rule = rules.steps[step];
  if (rule === undefined) return refuse('invalid_request', `A payment of the kind ${rules.kind} knows no step ${step}.`);
  const role = roleOf(rules, payment, actor);
  const allowed: readonly Role[] = typeof rule.by === 'function' ? rule.by(payment) : rule.by;
  if (role === null) return refuse('unauthorized', `You are no party of this ${rules.noun}.`);
  if (!allowed.includes(role)) return refuse('unauthorized', typeof rule.only === 'function' ? rule.only(payment) : rule.only);
  const by = addressOf(payment, role, actor);
  const context = { payment, role, by, input, nowMs };
  const never = rule.unless?.(context) ?? null;
  if (never !== null) return { kind: 'refuse', refusal: never };

  const after = rule.afterDeadline ?? 'clockFirst';
  const overdue = isOverdue(payment, nowMs);
  if (overdue && after === 'clockFirst') return decideOverdue(rules, payment, nowMs);
  const refusal = stateRefusal(rules, payment.state, step);
  if (refusal !== null) return { kind: 'refuse', refusal };
  if (overdue && after === 'refused')
    return refuse('invalid_state', `The time of this ${rules.noun} is up, and then it is not possible to ${rule.verb ?? step}.`);
  const verdict = transit(rules, transitionOf(rules, payment.state, step), context, { step, note: rule.note?.(input) ?? null });
  return verdict.kind === 'apply' && after === 'allowed' ? { ...verdict, decision: { ...verdict.decision, isDue: null } } : verdict;
}

/**
 * What the clock decides. Refused while it is not due; postponed where the payment was used meanwhile; otherwise the refusal is for whoever
 * came too late with a step.
 */
export function decideByClock(rules: AnyRules, payment: Payment, nowMs: number): ClockVerdict {
  if (isOverdue(payment, nowMs)) return decideOverdue(rules, payment, nowMs);
  const untilMs = idleAtMs(payment);
  if (payment.deadlineMs !== null && payment.deadlineMs <= nowMs && untilMs > nowMs) return { kind: 'postpone', untilMs };
  return refuse('invalid_state', `The time of this ${rules.noun} is not up.`);
}

function decideOverdue(rules: AnyRules, payment: Payment, nowMs: number): Verdict {
  const state = rules.states[payment.state];
  if (state === undefined || 'end' in state) throw new Error('A payment that has ended has a deadline.');
  const context = { payment, role: 'clock', by: 'clock', input: undefined, nowMs } as const;
  const verdict = transit(rules, state.clock, context, { step: 'clock', note: null });
  if (verdict.kind === 'refuse') return verdict;
  return { ...verdict, decision: { ...verdict.decision, isDue: true }, refusal: lateRefusal(payment, verdict.decision) };
}

/** Why a step is impossible in this state whoever takes it; null when it is not. What a workflow's validator asks. */
export function stateRefusal(rules: AnyRules, state: string, step: string): Refusal | null {
  if (transitionOf(rules, state, step) !== undefined) return null;
  const verb = rules.steps[step]?.verb ?? step;
  return { code: 'invalid_state', message: `The ${rules.noun} is ${state}, and then it is not possible to ${verb}.` };
}

/** What a step does in a state; undefined: nothing, it is not possible there. */
function transitionOf(rules: AnyRules, state: string, step: string): AnyTransition | undefined {
  const rule = rules.states[state];
  return rule === undefined || 'end' in rule ? undefined : rule.on[step];
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as AnyRules
type AnyTransition = Transition<any, any, any, string>;

function transit(
  rules: AnyRules,
  transition: AnyTransition | undefined,
  context: Context<unknown, unknown, unknown>,
  { step, note }: { step: string; note: string | null },
): Verdict {
  if (transition === undefined) throw new Error('A step is decided on that the state does not have.');
  const { payment, role, by, nowMs } = context;
  const known = context as Context<unknown, object, unknown>;
  const refusal = transition.unless?.(known) ?? null;
  if (refusal !== null) return { kind: 'refuse', refusal };
  // Known by this very step, or before it: whoever it is paid to.
  const seller = transition.seller?.(known) ?? null;
  const choice = transition.choose?.(known) ?? plainChoice(transition, seller ?? payment.seller);
  if ('code' in choice) return { kind: 'refuse', refusal: choice };
  const { to, moves, resolution } = choice;
  // A step that stays where it is, such as evidence, leaves the time as it is; the clock begins a new one.
  const deadlineMs = to === payment.state && role !== 'clock' ? payment.deadlineMs : deadlineOf(rules, to, payment, nowMs);
  const details = { ...known.payment.details, ...transition.details?.(known, deadlineMs), ...choice.details };
  const decision: Decision = {
    step,
    role,
    by,
    to,
    deadlineMs,
    isDue: false,
    moves,
    resolution,
    details,
    note: choice.note ?? note,
    seller: choice.seller ?? seller,
    meter: payment.meter === null ? null : { closes: to !== rules.opens.to, assumesDrained: choice.assumesDrained ?? false },
  };
  return { kind: 'apply', decision, refusal: choice.refusal ?? null };
}

function plainChoice({ to, moves, resolution }: AnyTransition, seller: string | null): Choice<string> {
  if (typeof to !== 'string') throw new Error('A rule with several targets does not say which.');
  const money: Readonly<Record<'paySeller' | 'giveBack', () => Move>> = {
    paySeller: () => ({ move: 'pay', to: seller ?? '', amountMicros: 'rest' }),
    giveBack: () => ({ move: 'giveBack', amountMicros: 'rest' }),
  };
  return { to, moves: moves === undefined ? [] : [money[moves]()], resolution: resolution ?? null };
}

function deadlineOf(rules: AnyRules, state: string, payment: Pick<Payment, 'terms' | 'details'>, nowMs: number): number | null {
  const rule = rules.states[state];
  return rule === undefined || 'end' in rule ? null : rule.until(payment, nowMs);
}

function isOverdue(payment: Payment, nowMs: number): boolean {
  const { deadlineMs } = payment;
  return deadlineMs !== null && deadlineMs <= nowMs && idleAtMs(payment) <= nowMs;
}

/** When a payment that ends for want of use will have been idle for long enough; 0 for all others. */
function idleAtMs({ meter }: Payment): number {
  return meter === null || meter.idleMs === null ? 0 : meter.lastUsedAtMs + meter.idleMs;
}

function roleOf(rules: AnyRules, payment: Payment, { address, as }: Actor): Role | null {
  if (address !== null && address === payment.arbiter) return 'arbiter';
  if (as !== null) return as;
  if (address === payment.buyer) return 'buyer';
  if (address !== null && address === payment.seller) return 'seller';
  return address === null ? null : (rules.roleOf?.(payment, address) ?? null);
}

function addressOf(payment: Payment, role: Role, { address }: Actor): string {
  switch (role) {
    case 'buyer':
      return payment.buyer;
    case 'seller':
      return payment.seller ?? address ?? 'platform';
    case 'arbiter':
      return payment.arbiter ?? 'platform';
    default:
      return role;
  }
}

function refuse(code: ErrorCode, message: string): Verdict {
  return { kind: 'refuse', refusal: { code, message } };
}

/** For whoever came with a step when the time was up: what the clock has decided instead, and where the money went. */
function lateRefusal({ heldMicros, paidMicros, returnedMicros, asset }: Payment, { resolution, moves }: Decision): Refusal {
  const rest = formatMicros(heldMicros - paidMicros - returnedMicros);
  const went = moves.some(({ move }) => move === 'pay') ? 'paid to the seller' : 'returned to the buyer';
  return {
    code: 'invalid_state',
    message: `The time for this was up, so the clock has decided (${resolution}): ${rest} ${asset} were ${went}.`,
  };
}
