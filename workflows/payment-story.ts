/** What a person sees of a payment in Temporal's UI: lines of what has happened, what an activity or timer is for, and how it ended. */
import type { PaymentFact, PaymentInput, PaymentResult, PaymentView, StepRequest } from '../domain/payment-messages.ts';
import type { AnyRules, Refusal } from '../domain/payment.ts';

/** How the money went, to search by. */
export type PaymentOutcome = 'paid' | 'returned' | 'split' | 'not_opened';

/** What has become of the money of an ended payment. */
export function outcomeOf(facts: readonly PaymentFact[]): PaymentOutcome {
  const paid = facts.some((fact) => fact.paid !== undefined);
  const returned = facts.some((fact) => fact.returned !== undefined);
  if (paid) return returned ? 'split' : 'paid';
  return 'returned';
}

/** Lines for the "current details" of a run: what it is about, where it stands, and what has happened, the latest last. */
export function detailsOf(input: PaymentInput, view: PaymentView | null, facts: readonly PaymentFact[]): string {
  const title = `**${input.amount} ${input.asset}** of \`${input.buyer}\``
    + (view === null || view.seller === null ? '' : ` for \`${view.seller}\``);
  const now =
    view === null
      ? 'being opened'
      : view.ended
        ? `${view.state} (${view.resolution ?? ''})`
        : `${view.state} until ${utcTime(view.deadlineMs ?? 0)}`;
  return [title, '', `State: **${now}**`, '', ...facts.map((fact) => `- ${line(input.asset, fact)}`)].join('\n');
}

function line(asset: string, { atMs, role, by, step, state, held, paid, payee, returned, resolution, note }: PaymentFact): string {
  const who = role === 'clock' ? 'the clock' : by === role ? `the ${role}` : `the ${role} \`${by}\``;
  const moved = [
    held === undefined ? null : `${held} ${asset} held`,
    paid === undefined ? null : payee === undefined ? `${paid} ${asset} spent` : `${paid} ${asset} paid to \`${payee}\``,
    returned === undefined ? null : `${returned} ${asset} returned to the buyer`,
  ].filter((text) => text !== null);
  const money = moved.length === 0 ? '' : `: ${moved.join(', ')}`;
  return `${utcTime(atMs)} ${who} · ${step} → ${state}${money}`
    + `${resolution === undefined ? '' : ` (${resolution})`}${note === undefined ? '' : ` “${note}”`}`;
}

/** `2026-12-01 12:00:00 UTC`, without fractions. */
export function utcTime(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/** What a timer waits for, or what the clock has decided when it was up. */
export function timerSummary(rules: AnyRules, { state, deadlineMs }: PaymentView): string {
  const rule = rules.states[state];
  const time = rule === undefined || 'end' in rule ? 'time' : rule.time;
  return `${time} ends ${utcTime(deadlineMs ?? 0)}`;
}

/** What a step is about to do: who, what, and where the money goes as far as the table says it. */
export function summaryOf(
  rules: AnyRules,
  step: string,
  input: PaymentInput,
  view: PaymentView | null,
  sent: unknown,
  request: StepRequest | null,
): string {
  const who =
    request?.actor.address ??
    `an operator for the ${String((sent as { by?: unknown } | undefined)?.by ?? rules.steps[step]?.operator ?? 'party')}`;
  const rule = view === null ? undefined : rules.states[view.state];
  const transition = rule === undefined || 'end' in rule ? undefined : rule.on[step];
  switch (transition?.moves) {
    case 'paySeller':
      return `${step} by ${who}: pay ${input.amount} ${input.asset} to ${view?.seller ?? ''}`;
    case 'giveBack':
      return `${step} by ${who}: give ${input.amount} ${input.asset} back to ${input.buyer}`;
    default:
      return `${step} by ${who}`;
  }
}

/** How a payment ended. */
export function resultOf(
  { id, buyer }: PaymentInput,
  view: PaymentView | null,
  facts: readonly PaymentFact[],
  notOpened: Refusal | null,
): PaymentResult {
  if (notOpened !== null || view === null) {
    return {
      id,
      version: 0,
      state: 'not_opened',
      resolution: notOpened?.code ?? 'internal_error',
      by: buyer,
      role: 'buyer',
      reason: notOpened?.message ?? '',
      paid: [],
      returned: '0.000000',
    };
  }
  const last = facts.at(-1);
  return {
    id,
    version: view.version,
    state: view.state,
    resolution: view.resolution ?? '',
    by: last?.by ?? '',
    role: last?.role ?? '',
    ...(last?.note === undefined ? {} : { reason: last.note }),
    // Of a payment with many parts only the latest facts are kept; and what calls have settled has many payees, each in its own workflow.
    paid: view.paid ??
      facts.flatMap(({ paid, payee }) => (paid === undefined ? [] : [{ to: payee ?? 'sellers of its calls', amount: paid }])),
    returned: view.returned,
  };
}
