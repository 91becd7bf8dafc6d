/** What kinds of payment that are kept in a row of their own have in common: a row, events, and postings under known refs. */
import type pg from 'pg';
import { readKeptPayment, type KeptPaymentRow, type KeptShape } from '../../ledger/timeline-kept.ts';
import { rolesOf, type Party, type PaymentKind } from './kind.ts';
import { events, postings, shownData, type Source } from './timeline.ts';

type Data = Readonly<Record<string, unknown>>;

export interface KeptKind {
  readonly kind: string;
  readonly prefix: string;
  /** Which rows. */
  readonly shape: KeptShape;
  /** A sentence for each state, by the topic behind the dot; what is missing is told by its name. */
  readonly tell: Readonly<Record<string, string | ((data: Data) => string)>>;
  /** Refs of its postings; all are known beforehand, so that each is found by index. */
  readonly refs: (row: KeptPaymentRow) => readonly string[];
  /** What else happened. */
  readonly more?: (pool: pg.Pool, row: KeptPaymentRow) => Promise<readonly Source[]>;
}

/** Makes a kind of payment out of what is special about it. */
export function keptKind({ kind, prefix, shape, tell, refs, more }: KeptKind): PaymentKind {
  return {
    kind, prefix,
    async find({ reads }, id) {
      const row = await readKeptPayment(reads, shape, id);
      if (row === null) return null;
      const parties = partiesOf(row);
      const others = (await more?.(reads, row)) ?? [];
      const { state, amounts, workflowId, createdAt, endedAt } = row;
      return {
        id, state, ended: endedAt !== null, amounts, parties, workflowId, createdAt, endedAt,
        sources: () => [events(reads, id, (topic, data) => sentence(kind, tell, topic, data)),
          postings(reads, refs(row), rolesOf(parties)), ...others],
      };
    },
  };
}

function partiesOf({ buyer, sellers, arbiter }: KeptPaymentRow): Party[] {
  return [{ role: 'buyer', address: buyer }, ...sellers.map((address) => ({ role: 'seller' as const, address })),
    ...(arbiter === null ? [] : [{ role: 'arbiter' as const, address: arbiter }])];
}

function sentence(kind: string, tell: KeptKind['tell'], topic: string, data: Data): string {
  const state = topic.slice(topic.indexOf('.') + 1);
  const told = Object.hasOwn(tell, state) ? tell[state] : undefined;
  if (typeof told === 'function') return told(data);
  return told ?? `The ${kind} is ${state.replaceAll('_', ' ')}.`;
}

/** An amount out of an event's data, as a sentence says it. */
export function amountIn(data: Data, name: string): string {
  const shown = shownData(data)[name.replace(/Micros$/, '')];
  return typeof shown === 'string' ? `${shown} USDC` : 'money';
}
