/** Kinds of payment on the engine, looked up by their id: one row, events by version, and postings under the payment's own id. */
import type pg from 'pg';
import type { Payment } from '../../domain/payment.ts';
import { readTimelineSteps, type TimelineStep } from '../../ledger/timeline.ts';
import type { PaymentKind as EngineKind } from '../../payments/kind.ts';
import { idPrefixes } from '../../domain/ids.ts';
import { rolesOf, type Party, type PaymentKind } from './kind.ts';
import { afterAmong, money, postings, type Source } from './timeline.ts';

/** What of a kind a timeline needs: a sentence for each step. `clock` is what the time has decided. */
export type StepSentences = Readonly<Record<string, string | ((...about: SentenceAbout) => string)>>;

/** What a sentence is about. */
export type SentenceAbout = readonly [step: TimelineStep, payment: Payment];

/**
 * Makes a kind of payment that can be looked up out of what is special about it.
 * @param more what belongs to its timeline besides its steps and postings.
 */
export function engineKind(
  { rules, id: idKind }: EngineKind,
  amountsOf: (payment: Payment) => Readonly<Record<string, bigint>>,
  sentences: StepSentences,
  more: (pool: pg.Pool, payment: Payment) => readonly Source[] = () => [],
): PaymentKind {
  const sentenceOf = (...[step, payment]: SentenceAbout): string => {
    const sentence = sentences[step.step] ?? `The ${rules.noun} is ${step.state}.`;
    return typeof sentence === 'function' ? sentence(step, payment) : sentence;
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
              what: sentenceOf(step, payment),
              data: {
                state: step.state,
                step: step.step,
                by: step.by,
                role: step.role,
                ...(step.resolution === null ? {} : { resolution: step.resolution }),
              },
            })),
          postings(reads, refsOf(payment), rolesOf(parties)),
          ...more(reads, payment),
        ],
      };
    },
  };
}

/** How an ended payment divided its money, for the sentence about its end. */
export function endOf({ resolution, paidMicros, returnedMicros }: TimelineStep, { asset }: Payment, noun: string): string {
  const parts = [
    ...(paidMicros > 0n ? [`${money(paidMicros, asset)} for the seller`] : []),
    ...(returnedMicros > 0n ? [`${money(returnedMicros, asset)} back to the buyer`] : []),
  ];
  return `The ${noun} ended (${resolution ?? ''}): ${parts.join(', ')}.`;
}

/** Under which its postings stand: its own, one for each version that moved money before the end, and those of its parts. */
function refsOf({ id, version, parts }: Payment): string[] {
  const versions = Array.from({ length: version - 1 }, (_, index) => `${id}:${index + 2}`);
  return [id, ...versions, ...parts.map(({ index }) => `${id}:part:${index}`)];
}

function partiesOf({ buyer, seller, arbiter, parts }: Payment): Party[] {
  const sellers = new Set([...(seller === null ? [] : [seller]), ...parts.map(({ payee }) => payee)]);
  return [
    { role: 'buyer', address: buyer },
    ...[...sellers].map((address) => ({ role: 'seller' as const, address })),
    ...(arbiter === null ? [] : [{ role: 'arbiter' as const, address: arbiter }]),
  ];
}
