/** A kind of payment, as this room drives it: its rules, its workflow, and how it is named to people. */
import { formatMicros } from '../domain/money.ts';
import type { AnyRules, Opening, Payment } from '../domain/payment.ts';
import type { IdKind } from '../domain/ids.ts';
import type { TaskQueueName, WorkflowKind } from '../workflows/contracts/ids.ts';

export interface PaymentKind {
  readonly rules: AnyRules;
  readonly workflow: WorkflowKind;
  readonly queue: TaskQueueName;
  /** What ids of its payments begin with. */
  readonly id: IdKind;
}

/** What of a payment a person sees before anything has happened: one line for Temporal's UI. */
export function summaryOf(
  { rules }: PaymentKind,
  { heldMicros, asset, buyer, seller }: Pick<Payment, 'heldMicros' | 'asset' | 'buyer' | 'seller'>,
): string {
  const noun = `${rules.noun.charAt(0).toUpperCase()}${rules.noun.slice(1)}`;
  return `${noun} of ${formatMicros(heldMicros)} ${asset} from ${buyer}${seller === null ? '' : ` to ${seller}`}`;
}

/** The part of a payment that is known before it is opened. */
export function aboutOf({
  amountMicros,
  asset,
  buyer,
  seller,
  tenantId,
}: Opening): Pick<Payment, 'heldMicros' | 'asset' | 'buyer' | 'seller' | 'tenantId'> {
  return { heldMicros: amountMicros, asset, buyer, seller, tenantId };
}
