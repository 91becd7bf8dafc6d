/** Compensations: what a buyer wants to be called when a step that delivered is not needed any more. */
import { SuretyError } from '../../domain/errors.ts';
import type { Crash } from '../../platform/crash.ts';
import type { Outbound, OutboundResult } from '../../platform/outbound.ts';
import type { SellerSigner } from '../../platform/seller-signature.ts';
import { readCompensation, type PipelineRow, type StepRow } from './rows.ts';
import type { PipelineStore } from './store.ts';

export interface UndoDeps {
  readonly store: PipelineStore;
  readonly outbound: Outbound;
  readonly signer: SellerSigner;
  readonly crash: Crash;
}

/** Tries of one compensation, over all processes. */
export const UNDO_ATTEMPTS_MAX = 5;
const UNDO_MS_MAX = 5_000;

/** Answers that may be another one soon. Any other 4xx is a refusal, and asking again would change nothing. */
const passing = new Set([408, 409, 425, 429]);

/**
 * Calls the compensation of a step once and notes how it went. Whoever is called knows by the `Idempotency-Key` what it has undone.
 * @throws SuretyError `unavailable` when it failed and is to be tried again.
 */
export async function undoStep({ store, outbound, signer, crash }: UndoDeps, id: string, step: number): Promise<PipelineRow> {
  const row = await store.step(id, step);
  if (row === null) throw new SuretyError('not_found', 'There is no such step.');
  if (row.undo_state !== 'pending' || row.compensation === null) return pipelineRow(store, id);
  const sent = call({ outbound, signer }, row, row.compensation);
  crash.during('compensating');
  const result = await sent;
  const error = faultOf(result);
  const refused = result.tag === 'refused_address' || result.tag === 'redirect'
    || (result.tag === 'answered' && result.status >= 400 && result.status < 500 && !passing.has(result.status));
  const final = refused || row.undo_attempts + 1 >= UNDO_ATTEMPTS_MAX;
  const noted = await store.noteUndo({ id, step, done: error === null, final, error });
  crash.at('compensated');
  if (error !== null && !final) throw new SuretyError('unavailable', `The compensation of step ${step} ${error}.`);
  return noted;
}

async function pipelineRow(store: PipelineStore, id: string): Promise<PipelineRow> {
  const [row] = await store.rows([id]);
  if (row === undefined) throw new SuretyError('not_found', 'There is no such pipeline.');
  return row;
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
