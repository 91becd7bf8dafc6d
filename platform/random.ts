import { randomBytes, randomUUID } from 'node:crypto';
import { idFrom, type IdKind } from '../domain/ids.ts';

/** Milliseconds since 1970 in eleven digits: enough until the year 2527. */
const TIME_DIGITS = 11;
const REST_DIGITS = 13;
const REST_MAX = 16 ** REST_DIGITS;
const WORD = 2 ** 32;

/**
 * Makes the digits of ids that sort by the time they were made at: eleven digits of time, then 52 bits of which the first id of a
 * millisecond draws 51 at random. Each further id of that millisecond lies a random step of 1 to 2^32 behind the one before, so the ids
 * of one process keep their order and none follows from another. A clock that is set back does not turn the order round.
 * @param random a random whole number below 2^32.
 */
export function createIdDigits({ now, random }: { readonly now: () => number; readonly random: () => number }): () => string {
  let atMs = -1;
  let rest = REST_MAX;
  const draw = (): number => (random() >>> 13) * WORD + random();
  return () => {
    const nowMs = now();
    rest = nowMs > atMs ? REST_MAX : rest + 1 + random();
    if (rest >= REST_MAX) {
      // A new millisecond; or one that is full (after some half a million ids), and the next is begun early.
      atMs = Math.max(nowMs, atMs + 1);
      rest = draw();
    }
    return atMs.toString(16).padStart(TIME_DIGITS, '0') + rest.toString(16).padStart(REST_DIGITS, '0');
  };
}

const WORD_BYTES = 4;
// One call of the random generator for many ids: asking for 4 bytes costs nearly as much as asking for thousands.
let pool = Buffer.alloc(0);
let used = 0;

function randomWord(): number {
  if (used + WORD_BYTES > pool.length) {
    pool = randomBytes(WORD_BYTES * 1_536);
    used = 0;
  }
  used += WORD_BYTES;
  return pool.readUInt32BE(used - WORD_BYTES);
}

const nextDigits = createIdDigits({ now: Date.now, random: randomWord });

/**
 * A new id of the given kind, such as `gw_019aa7…`; ids made later sort later as text. Names a thing and never opens one: 51 of its 96
 * bits are random, the others say when it was made.
 */
export function newId(kind: IdKind): string {
  return idFrom(kind, nextDigits());
}

/** Names this process among those that share the database; written into leases. */
export const processId = `${process.pid}-${randomUUID().slice(0, 8)}`;
