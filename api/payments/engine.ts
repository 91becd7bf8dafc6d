/** Kinds of payment on the engine, looked up by their id: one row, events by version, and postings under the payment's own id. */
import type { Payment } from '../../domain/payment.ts';
import { readTimelineSteps, type TimelineStep } from '../../ledger/timeline.ts';
import type { PaymentKind as EngineKind } from '../../payments/kind.ts';
import { idPrefixes } from '../../domain/ids.ts';
import { rolesOf, type Party, type PaymentKind } from './kind.ts';
import { afterAmong, postings, usdc } from './timeline.ts';

/** What of a kind a timeline needs: a sentence for each step. `clock` is what the time has decided. */
export type StepSentences = Readonly<Record<string, string | ((step: TimelineStep) => string)>>;

/** Makes a kind of payment that can be looked up out of what is special about it. */
export function engineKind(
  { rules, id: idKind }: EngineKind,
  amountsOf: (payment: Payment) => Readonly<Record<string, bigint>>,
  tell: StepSentences,
): PaymentKind {
  const sentence = (step: TimelineStep): string => {
    const told = tell[step.step] ?? `The ${rules.noun} is ${step.state}.`;
    return typeof told === 'function' ? told(step) : told;
  };
  return {
    kind: rules.kind,
    prefix: idPrefixes[idKind],
    async find({ reads, payments }, id) {
      const payment = await payments.read(id);
      if (payment === null) return null;
      const parties = partiesOf(payment);
      return {
        id,
        state: payment.state,
        ended: payment.deadlineMs === null,
        amounts: amountsOf(payment),
        parties,
        workflowId: payment.workflowId,
        createdAt: new Date(payment.createdAtMs),
        endedAt: payment.endedAtMs === null ? null : new Date(payment.endedAtMs),
        sources: () => [
          async (after, limit) =>
            (await readTimelineSteps(reads, id, { after: afterAmong('state', after), limit })).map((step) => ({
              id: BigInt(step.version),
              atMicros: step.atMicros,
              kind: 'state' as const,
              what: sentence(step),
              data: {
                state: step.state,
                step: step.step,
                by: step.by,
                role: step.role,
                ...(step.resolution === null ? {} : { resolution: step.resolution }),
              },
            })),
          postings(reads, [id], rolesOf(parties)),
        ],
      };
    },
  };
}

/** How an ended payment divided its money, for the sentence about its end. */
export function endOf({ resolution, paidMicros, returnedMicros }: TimelineStep, noun: string): string {
  const parts = [
    ...(paidMicros > 0n ? [`${usdc(paidMicros)} for the seller`] : []),
    ...(returnedMicros > 0n ? [`${usdc(returnedMicros)} back to the buyer`] : []),
  ];
  return `The ${noun} ended (${resolution ?? ''}): ${parts.join(', ')}.`;
}

function partiesOf({ buyer, seller, arbiter }: Payment): Party[] {
  return [
    { role: 'buyer', address: buyer },
    ...(seller === null ? [] : [{ role: 'seller' as const, address: seller }]),
    ...(arbiter === null ? [] : [{ role: 'arbiter' as const, address: arbiter }]),
  ];
}
