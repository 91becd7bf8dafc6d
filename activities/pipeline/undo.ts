/** Compensations: what a buyer wants to be called when a step that delivered is not needed any more. */
import { SuretyError } from '../../domain/errors.ts';
import { undoPauseMs } from '../../domain/pipeline-rules.ts';
import type { Crash } from '../../platform/crash.ts';
import type { Outbound, OutboundResult } from '../../platform/outbound.ts';
import type { SellerSigner } from '../../platform/seller-signature.ts';
import { readCompensation, type StepRow } from './rows.ts';
import type { PipelineStore } from './store.ts';

export interface UndoDeps {
  readonly store: PipelineStore;
  readonly outbound: Outbound;
  readonly signer: SellerSigner;
  readonly crash: Crash;
  /** For how long a compensation that does not work is called again. */
  readonly undoForMs: number;
}

/** How it went: done, or given up · it is tried again after so long, by whoever comes then. */
export type Tried = { readonly tag: 'over' } | { readonly tag: 'later'; readonly waitMs: number; readonly reason: string };

const UNDO_MS_MAX = 5_000;
/** Longer than a call can take, so that nobody else begins another one meanwhile. */
const LEASE_MS = 2 * UNDO_MS_MAX;

/** Answers that may be another one soon. Any other 4xx is a refusal, and asking again would change nothing. */
const passing = new Set([408, 409, 425, 429]);

/**
 * Calls the compensation of a step once, if it is due and nobody else is at it, and notes how it went. Whoever is called knows by the
 * `Idempotency-Key`, which is always the same, what it has undone.
 */
export async function undoStep(deps: UndoDeps, id: string, step: number): Promise<Tried> {
  const { store, crash } = deps;
  const claim = await store.claimUndo(id, step, LEASE_MS);
  if (claim.outcome === 'over') return { tag: 'over' };
  if (claim.outcome === 'later') return { tag: 'later', waitMs: claim.waitMs, reason: 'is not due yet, or another process calls it' };
  const row = await store.step(id, step);
  if (row === null || row.compensation === null) throw new SuretyError('not_found', 'There is no such step.');
  const sent = call(deps, row, row.compensation);
  crash.during('compensating');
  const result = await sent;
  const reason = faultOf(result);
  const pauseMs = undoPauseMs(row.undo_attempts + 1);
  const isFinal = isRefused(result) || claim.ageMs + pauseMs > deps.undoForMs;
  await store.noteUndo({ id, step, done: reason === null, pauseMs: isFinal ? null : pauseMs, error: reason });
  crash.at('compensated');
  return reason === null || isFinal ? { tag: 'over' } : { tag: 'later', waitMs: pauseMs, reason };
}

function isRefused(result: OutboundResult): boolean {
  if (result.tag === 'refused_address' || result.tag === 'redirect') return true;
  return result.tag === 'answered' && result.status >= 400 && result.status < 500 && !passing.has(result.status);
}

/** A request like those that sellers get, signed the same way; nothing is paid with it. */
function call({ outbound, signer }: Pick<UndoDeps, 'outbound' | 'signer'>, row: StepRow, compensation: string): Promise<OutboundResult> {
  const { endpoint, params } = readCompensation(compensation);
  // Who does not pay does not read: not by way of an endpoint of the buyer's own either.
  const paid = row.state === 'settled';
  const response: unknown = !paid || row.response === null ? null : JSON.parse(row.response);
  const body = JSON.stringify({ pipelineId: row.pipeline_id, callId: row.id, step: row.step_index, params, paid, response });
  const { pathname, search } = new URL(endpoint);
  return outbound.postJson({
    url: endpoint, body, timeoutMs: UNDO_MS_MAX,
    headers: signer.headersFor({
      method: 'POST', path: pathname + search, amount: '0.000000', from: row.buyer, to: row.seller ?? '', ref: row.id,
      idempotencyKey: `${row.id}:compensate`, refundable: false, body,
    }),
  });
}

/** Null when it was done: any 2xx. */
function faultOf(result: OutboundResult): string | null {
  switch (result.tag) {
    case 'answered': return result.status >= 200 && result.status <= 299 ? null : `answered with HTTP ${result.status}`;
    case 'timeout': return 'did not answer in time';
    case 'refused_address': return 'has an address that may not be called';
    case 'redirect': return 'answered with a redirect, which is not followed';
    case 'too_large': case 'bad_encoding': return 'gave an answer that cannot be read';
    case 'connect_error': return 'could not be reached';
    case 'reset': case 'aborted': return 'ended the connection before the answer was complete';
  }
}
