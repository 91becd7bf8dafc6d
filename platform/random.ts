import { randomBytes, randomUUID } from 'node:crypto';
import { idFrom, type IdKind } from '../domain/ids.ts';

const ID_BYTES = 12;
// One call of the random generator for many ids: asking for 12 bytes costs nearly as much as asking for thousands.
let pool = Buffer.alloc(0);
let used = 0;

/** A new id of the given kind from 12 random bytes, such as `gw_4f…`. Not for secrets: the bytes wait in memory. */
export function newId(kind: IdKind): string {
  if (used + ID_BYTES > pool.length) {
    pool = randomBytes(ID_BYTES * 512);
    used = 0;
  }
  used += ID_BYTES;
  return idFrom(kind, pool.toString('hex', used - ID_BYTES, used));
}

/** Names this process among those that share the database; written into leases. */
export const processId = `${process.pid}-${randomUUID().slice(0, 8)}`;
