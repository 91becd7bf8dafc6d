/** Who is asking. The one place where credentials are read; `api/middleware/access.ts` decides what they are good for. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Caller } from '../routing/route.ts';

/** What a request's headers prove. */
export interface Identity {
  readonly caller: Caller | null;
  /** The admin secret was sent and is right. */
  readonly hasAdminSecret: boolean;
  /** A credential was sent and is wrong; such requests count against the address they come from. */
  readonly failed: boolean;
}

export type Authenticate = (req: IncomingMessage) => Promise<Identity>;

/** A request without credentials. */
export const nobody: Identity = Object.freeze({ caller: null, hasAdminSecret: false, failed: false });

/** The API key of a request: `Authorization` (with or without `Bearer`) if it is not empty, else `X-API-Key`. */
function secretOf(req: IncomingMessage): string | null {
  const authorization = req.headers.authorization?.trim() ?? '';
  if (authorization !== '') return /^bearer(\s|$)/i.test(authorization) ? authorization.slice(6).trim() : authorization;
  const key = req.headers['x-api-key'];
  return typeof key === 'string' && key.trim() !== '' ? key.trim() : null;
}

export function createAuthenticate(keys: { authenticate(secret: string): Promise<Caller | null> },
    adminSecret: string | undefined): Authenticate {
  const adminHash = adminSecret === undefined ? null : sha256(adminSecret);
  return async (req) => {
    const secret = secretOf(req);
    const admin = req.headers['x-admin-secret'];
    if (secret === null && admin === undefined) return nobody;
    const caller = secret === null ? null : await keys.authenticate(secret);
    // Hashes have one length, so the comparison tells nothing about the secret's.
    const hasAdminSecret = typeof admin === 'string' && adminHash !== null && timingSafeEqual(sha256(admin), adminHash);
    return { caller, hasAdminSecret, failed: (secret !== null && caller === null) || (admin !== undefined && !hasAdminSecret) };
  };
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
