/** What people do with a long call, and the clock: decided by its rules on the row as it is, written only while that still holds. */
import { isDeepStrictEqual } from 'node:util';
import { SuretyError } from '../../domain/errors.ts';
import { longCallRefusal, type LongCallActor, type LongCallInput } from '../../domain/long-call.ts';
import type { Refusal } from '../../domain/payment.ts';
import type { AttemptLog } from '../gateway/rows.ts';
import { longStateOf, type LongCallRow } from './rows.ts';
import type { LongCallStore, LongEnd } from './store.ts';

/** The call as it is now, and why nothing was done to it if so. */
export interface LongCallActed {
  readonly row: LongCallRow;
  /** The same was done before. */
  readonly replayed: boolean;
  readonly refusal: Refusal | null;
}

const TRIES = 5;

/**
 * Takes a step. What comes when the time of the seller is up finds that the clock was first.
 * @param heard whether the workflow learns of it from whoever asks.
 * @throws SuretyError not_found; busy; unavailable, and then nothing was written as far as anybody knows.
 */
export async function actOnLongCall(store: LongCallStore, id: string, input: LongCallInput, actor: LongCallActor,
    heard: boolean): Promise<LongCallActed> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const row = await store.row(id);
    if (row === null) throw new SuretyError('not_found', 'There is no such long call.');
    const refusal = longCallRefusal({ state: longStateOf(row), buyer: row.buyer, seller: row.seller }, input.step, actor);
    if (refusal !== null) {
      const replayed = refusal.code === 'invalid_state' && wasDone(row, input);
      return { row, replayed, refusal: replayed ? null : explained(refusal, row) };
    }
    if ((await write(store, row, input, heard)) !== 'moved') return { row: (await store.row(id)) ?? row, replayed: false, refusal: null };
    // It has moved on since it was read, or its time is up.
    await expireLongCall(store, id, heard);
  }
  throw new SuretyError('busy', 'The call changes too quickly for this at the moment; nothing was changed.');
}

/** Gives the call back if the time of its seller is up; otherwise changes nothing. */
export async function expireLongCall(store: LongCallStore, id: string, heard: boolean): Promise<void> {
  const row = await store.row(id);
  if (row === null || row.state !== 'accepted') return;
  const { attempt } = row;
  const asked = row.asked_at !== null;
  const reason = !asked ? 'Nobody could be asked in time.'
    : row.begun_at === null ? `${row.service_name} was asked and has not been heard of in its time.`
      : `${row.service_name} began and did not deliver in its time.`;
  const log = asked ? [attemptOf(row, 'timeout', null, 'did not deliver in the time it has')] : [];
  await store.end({ id, attempt, guard: 'due', step: 'overdue', role: 'clock', data: { reason },
    release: { id, errorCode: asked ? 'call_overdue' : 'proxy_failed', errorMessage: reason, log } }, heard);
}

function write(store: LongCallStore, row: LongCallRow, input: LongCallInput, heard: boolean): Promise<string> {
  const { id, attempt } = row;
  const release = (errorMessage: string, log: readonly AttemptLog[]): Pick<LongEnd, 'release'> =>
    ({ release: { id, errorCode: 'proxy_failed', errorMessage, log } });
  switch (input.step) {
    case 'progress': return store.progress(row, input.percent, input.note, heard);
    case 'complete': {
      const latencyMs = msSinceAsked(row);
      const log = [attemptOf(row, 'delivered', 200, null)];
      return store.end({ id, attempt, step: 'completed', role: 'seller',
        delivery: { id, attempt, httpStatus: 200, responseJson: input.resultJson, latencyMs, log } }, heard);
    }
    case 'fail': return store.end({ id, attempt, step: 'failed', role: 'seller', data: { reason: input.reason },
      ...release(`${row.service_name} gave the call up: ${input.reason}`, [attemptOf(row, 'gave_up', null, `gave up: ${input.reason}`)]) },
    heard);
    case 'cancel': return store.end({ id, attempt, guard: 'not_begun', step: 'cancelled', role: 'buyer',
      ...release('The buyer cancelled the call before its seller began.', []) }, heard);
  }
}

function msSinceAsked({ asked_at: askedAt }: LongCallRow): number {
  return askedAt === null ? 0 : Math.max(0, Date.now() - askedAt.getTime());
}

/** The attempt at the present seller, for those who ask later. */
function attemptOf(row: LongCallRow, outcome: string, httpStatus: number | null, message: string | null): AttemptLog {
  const { seller, service_id: serviceId, reserved: priceMicros, asked_at: askedAt } = row;
  return { seller, serviceId, priceMicros, outcome, httpStatus, message, startedAt: (askedAt ?? new Date()).toISOString(),
    latencyMs: msSinceAsked(row) };
}

/** Whether this is what ended the call: a request that comes twice is answered twice. */
function wasDone({ state, response }: LongCallRow, input: LongCallInput): boolean {
  if (input.step !== 'complete' || (state !== 'settled' && state !== 'delivered')) return false;
  return isDeepStrictEqual(JSON.parse(response ?? 'null'), JSON.parse(input.resultJson ?? 'null'));
}

/** A refusal with why the money went back. */
function explained(refusal: Refusal, { state, error_message: why }: LongCallRow): Refusal {
  return refusal.code !== 'invalid_state' || state !== 'released' || why === null ? refusal
    : { ...refusal, message: `${refusal.message} ${why}` };
}
