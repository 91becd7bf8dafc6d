/** What a stream's workflow may have done: look at the row when its time has come, and close it for somebody who asks. */
import { SuretyError } from '../../domain/errors.ts';
import { staleAtMs, streamBounds, streamState, type Stream } from '../../domain/stream.ts';
import type { StreamStore } from './store.ts';

/** Where a stream stands, as its workflow knows it. JSON. */
export interface StreamView {
  readonly version: number;
  readonly state: string;
  readonly ended: boolean;
  readonly deadlineMs: number | null;
}

export interface StreamActivities {
  /** Ends the stream if it has been silent for too long by the database's clock; answers where it stands. */
  lookAtStream(input: { id: string }): Promise<StreamView>;
  /**
   * Ends the stream for one of its parties. `wish` is what a person typed, `key` that of the message: run again, because its worker died
   * before it could answer, it is not refused as closed before. Errors: validation_error, already_closed, not_found, idempotency_mismatch.
   */
  closeStream(input: { id: string; wish: unknown; key: string }): Promise<StreamView>;
}

/** The view of a row. */
export function streamView(stream: Stream): StreamView {
  const { version, status } = stream;
  return { version, state: streamState(stream), ended: status !== 'open', deadlineMs: staleAtMs(stream) };
}

export interface StreamActivityDeps {
  readonly store: Pick<StreamStore, 'look' | 'close'>;
}

export function createStreamActivities({ store }: StreamActivityDeps): StreamActivities {
  return {
    async lookAtStream({ id }) {
      const stream = await store.look(id);
      if (stream === null) throw new SuretyError('not_found', 'There is no such stream.');
      return streamView(stream);
    },
    async closeStream({ id, wish, key }) {
      const { by, reason } = checkedWish(wish);
      // Kept under the role, which all streams share; the space keeps it apart from every key that a client can send.
      const idempotency = { key: `message ${id} ${key}`, requestHash: `${id} ${reason ?? ''}` };
      return streamView((await store.close(id, by, reason, idempotency)).stream);
    },
  };
}

/** Nothing has looked at this input before: it may be any JSON. */
function checkedWish(wish: unknown): { by: 'buyer' | 'seller'; reason: string | null } {
  const { by = 'buyer', reason = null } = (typeof wish === 'object' && wish !== null ? wish : {}) as Record<string, unknown>;
  if (by !== 'buyer' && by !== 'seller') throw new SuretyError('validation_error', 'by: must be "buyer" or "seller".');
  // eslint-disable-next-line no-control-regex -- Postgres text holds no NUL
  if (reason !== null && (typeof reason !== 'string' || reason.length > streamBounds.reasonCharsMax || /\u0000/.test(reason))) {
    throw new SuretyError('validation_error', `reason: must be text of at most ${streamBounds.reasonCharsMax} characters.`);
  }
  return { by, reason };
}
