import { randomBytes, randomUUID } from 'node:crypto';
import { idFrom, type IdKind } from '../domain/ids.ts';

/** A new id of the given kind from 12 random bytes, such as `gw_4f…`. */
export function newId(kind: IdKind): string {
  return idFrom(kind, randomBytes(12).toString('hex'));
}

/** Names this process among those that share the database; written into leases. */
export const processId = `${process.pid}-${randomUUID().slice(0, 8)}`;
