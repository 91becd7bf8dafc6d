/** Metered streams in plain types: what the HTTP edge, the activities and the workflow share. */
import type { IdempotencyClaim } from './gateway.ts';
import type { Micros } from './money.ts';

export type StreamStatus = 'open' | 'closed' | 'stale_closed';
export type StreamRole = 'buyer' | 'seller';

/** Bounds and defaults (contract alancoin-payments 2.8). */
export const streamBounds = {
  staleTimeoutSecsDefault: 60,
  staleTimeoutSecsMax: 30 * 86_400,
  ticksAtOnceMax: 1_000,
  metadataCharsMax: 1_000,
  reasonCharsMax: 500,
  /** A tick number is an INTEGER in Postgres; `stream_room` says the same. */
  seqMax: 2_147_483_647,
} as const;

/** What buyer and seller agree to when a stream opens. */
export interface StreamTerms {
  readonly buyer: string;
  readonly seller: string;
  readonly depositMicros: Micros;
  readonly pricePerTickMicros: Micros;
  readonly staleTimeoutMs: number;
  readonly serviceId: string | null;
}

export interface Stream extends StreamTerms {
  readonly id: string;
  readonly tenantId: string | null;
  readonly sessionKeyId: string | null;
  readonly spentMicros: Micros;
  readonly tickCount: number;
  readonly status: StreamStatus;
  /** The rest of the deposit cannot pay another tick at the agreed price. */
  readonly paused: boolean;
  readonly lastTickAt: Date | null;
  readonly closedAt: Date | null;
  readonly closeReason: string | null;
  readonly version: number;
  readonly workflowId: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface Tick {
  readonly streamId: string;
  readonly seq: number;
  readonly amountMicros: Micros;
  /** Spent by the stream with this tick. */
  readonly cumulativeMicros: Micros;
  readonly metadata: string | null;
  readonly tickedBy: StreamRole;
  readonly createdAt: Date;
}

/** One tick to be recorded. */
export interface TickWish {
  readonly streamId: string;
  readonly agent: string;
  /** Must be the next number; null takes it, whatever it is. */
  readonly seq: number | null;
  /** Null means the agreed price. */
  readonly amountMicros: Micros | null;
  readonly metadata: string | null;
  readonly idempotency: IdempotencyClaim | null;
}

/** Many ticks of one stream, recorded together or not at all. */
export interface TickBatchWish {
  readonly streamId: string;
  readonly agent: string;
  /** Number of the first; null takes the next. */
  readonly fromSeq: number | null;
  readonly count: number;
  /** One entry for each tick; null: each costs the agreed price and says nothing. */
  readonly ticks: readonly { readonly amountMicros: Micros | null; readonly metadata: string | null }[] | null;
  readonly idempotency: IdempotencyClaim | null;
}

export interface RecordedTick {
  readonly tick: Tick;
  /** As it was after this tick. */
  readonly stream: Stream;
  readonly replayed: boolean;
}

export interface RecordedBatch {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly stream: Stream;
  readonly replayed: boolean;
}

export interface StreamStep {
  readonly stream: Stream;
  /** True when an earlier request with the same idempotency key did it. */
  readonly replayed: boolean;
}

/** What the HTTP edge may ask of streams. Implemented where activities and workers meet; injected into `createApp`. */
export interface StreamPort {
  /** Holds the deposit and starts the stream's workflow. Errors: insufficient_balance, idempotency_mismatch. */
  open(terms: StreamTerms, tenantId: string | null, idempotency: IdempotencyClaim | null): Promise<StreamStep>;
  /**
   * Errors: not_found, unauthorized (403), stream_closed, sequence_mismatch, stream_full, invalid_amount, hold_exhausted, idempotency_*.
   */
  tick(wish: TickWish): Promise<RecordedTick>;
  /** Errors: those of `tick`. */
  tickBatch(wish: TickBatchWish): Promise<RecordedBatch>;
  /** Pays what was ticked and returns the rest. Errors: not_found, unauthorized (403), already_closed, idempotency_mismatch. */
  close(streamId: string, agent: string, reason: string | null, idempotency: IdempotencyClaim | null): Promise<StreamStep>;
  /** Errors: not_found, unauthorized (403), stream_closed, invalid_amount, insufficient_balance, idempotency_mismatch. */
  topUp(streamId: string, agent: string, amountMicros: Micros, idempotency: IdempotencyClaim | null): Promise<StreamStep>;
  /** Ends every stream that is stale by now, for the operator. @returns how many were ended. */
  closeStale(): Promise<number>;
}

/** The wire's id of a tick. Not stored: stream and number say the same. */
export function tickIdOf(streamId: string, seq: number): string {
  return `tick_${streamId.slice(streamId.indexOf('_') + 1)}${seq.toString(16).padStart(8, '0')}`;
}

/** Nine tenths of the deposit are spent; the same rule as in `stream_after_ticks`. */
export function isDepositLow({ depositMicros, spentMicros }: Pick<Stream, 'depositMicros' | 'spentMicros'>): boolean {
  return spentMicros >= depositMicros - depositMicros / 10n;
}

/**
 * When the stream ends by itself unless it ticks; milliseconds since 1970. Null once it has ended. The row keeps microseconds: the next
 * full millisecond is named, so that nobody looks a moment too early.
 */
export function staleAtMs({ status, lastTickAt, createdAt, staleTimeoutMs }: Pick<Stream,
    'status' | 'lastTickAt' | 'createdAt' | 'staleTimeoutMs'>): number | null {
  return status === 'open' ? (lastTickAt ?? createdAt).getTime() + staleTimeoutMs + 1 : null;
}

/** The state people see in Temporal's UI. */
export function streamState({ status, paused }: Pick<Stream, 'status' | 'paused'>): StreamStatus | 'paused' {
  return status === 'open' && paused ? 'paused' : status;
}
