import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

const SANE = /^[A-Za-z0-9_.:-]{1,128}$/;
/** Asking the kernel for randomness once for many ids costs a fraction of asking each time. */
const pool = { bytes: Buffer.alloc(0), at: 0 };
const ID_BYTES = 16;

/** The client's `X-Request-ID` when it is harmless to log and to send back, else 32 hexadecimal digits. */
export function requestIdOf(req: IncomingMessage): string {
  const given = req.headers['x-request-id'];
  return typeof given === 'string' && SANE.test(given) ? given : newRequestId();
}

function newRequestId(): string {
  if (pool.at + ID_BYTES > pool.bytes.length) {
    pool.bytes = randomBytes(ID_BYTES * 256);
    pool.at = 0;
  }
  pool.at += ID_BYTES;
  return pool.bytes.toString('hex', pool.at - ID_BYTES, pool.at);
}
