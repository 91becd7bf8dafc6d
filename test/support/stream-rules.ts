/** Streams as plain values and straight on Postgres, for tests of their rules: no HTTP, no Temporal. */
import type pg from 'pg';
import { micros, parseAmount } from '../../domain/money.ts';
import type { Opening } from '../../domain/payment.ts';
import { asStream, streamRules, type StreamPayment, type StreamTerms } from '../../domain/stream.ts';
import type { TickPort } from '../../domain/tick.ts';
import { createTickStore } from '../../ledger/ticks.ts';
import { createCrash } from '../../platform/crash.ts';
import { createMetrics, type Metrics } from '../../platform/metrics.ts';
import { newId } from '../../platform/random.ts';
import { aDeposit, anAddress } from './builders.ts';
import { buyer, opened, rulesNowMs, seller } from './rules.ts';
import { directPayments, noAttempt, type DirectPayments } from './payments.ts';

/** What is special about a stream of a test. */
export interface StreamWish {
  readonly buyer?: string;
  readonly seller?: string;
  readonly deposit?: string;
  readonly price?: string;
  readonly staleTimeoutMs?: number;
}

/** An opening with everything that a request would say: 1 USDC for ticks of 0.10. */
export function aStreamOpening({ deposit = '1.00', price = '0.10', staleTimeoutMs = 60_000, ...parties }: StreamWish = {}): Opening {
  const id = newId('stream');
  const terms: StreamTerms = { serviceId: null, sessionKeyId: null, pricePerTickMicros: parseAmount(price).toString(), staleTimeoutMs };
  return { id, buyer, seller, ...parties, arbiter: null, tenantId: null, asset: 'USDC', amountMicros: parseAmount(deposit), terms,
    lookup: null, workflowId: `stream-${id}` };
}

/** A stream in this state, as a value. @param used so many ticks at the price of 0.10 were counted. */
export function aStreamIn(state: string, { used = 0, wish = {} }: { used?: number; wish?: StreamWish } = {}): StreamPayment {
  const stream = asStream(opened(streamRules, aStreamOpening(wish), rulesNowMs));
  const ended = state !== 'open';
  const meter = { ...stream.meter, isOpen: !ended, uses: used, usedMicros: micros(BigInt(used) * 100_000n) };
  return { ...stream, state, meter, ...(ended ? { deadlineMs: null, resolution: state, endedAtMs: rulesNowMs } : {}) };
}

/** Streams on a database: their steps, and their ticks. */
export interface DirectStreams extends Pick<DirectPayments, 'store' | 'taker' | 'step' | 'clock'> {
  readonly ticks: TickPort;
  /** Opens a stream whose buyer has exactly its deposit. */
  open(wish?: StreamWish): Promise<StreamPayment>;
  /** The row with its meter. */
  read(id: string): Promise<StreamPayment>;
}

/** Rejects when Postgres does not answer. */
export async function directStreams(pool: pg.Pool, metrics: Metrics = createMetrics({ runtime: false })): Promise<DirectStreams> {
  const { store, taker, step, clock } = await directPayments(pool, { rules: streamRules, metrics });
  const read = async (id: string): Promise<StreamPayment> => {
    const found = await store.read(id);
    if (found === null) throw new Error('There is no such stream.');
    return asStream(found.payment);
  };
  return {
    store, taker, step, clock, read, ticks: createTickStore({ pool, metrics, crash: createCrash(undefined) }),
    async open({ buyer: who = anAddress(), seller: payee = anAddress(), ...wish } = {}) {
      const opening = aStreamOpening({ buyer: who, seller: payee, ...wish });
      await aDeposit(pool, who, wish.deposit ?? '1.00');
      const taken = await taker.open(streamRules, { ...noAttempt, opening, askedAtMs: Date.now(), workflowStarted: false });
      if (taken.kind === 'refused') throw new Error(taken.refusal.message);
      return read(opening.id);
    },
  };
}
