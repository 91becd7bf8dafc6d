/** May this identity use this route? The `access` of the route list is enforced here and nowhere else. */
import { isAddress, normaliseAddress } from '../../domain/ids.ts';
import { SuretyError } from '../../domain/errors.ts';
import type { Env } from '../../platform/env.ts';
import type { Access, Caller, Method } from '../routing/route.ts';
import type { Identity } from './authenticate.ts';

export interface Granted {
  readonly caller: Caller | null;
  readonly isAdmin: boolean;
}

/** What an `admin` route asks for, from the settings. */
export type AdminRule = 'secret' | 'any-key' | 'nobody';

export function adminRule(env: Pick<Env, 'ADMIN_SECRET' | 'DEMO_MODE'>): AdminRule {
  if (env.ADMIN_SECRET !== undefined) return 'secret';
  return env.DEMO_MODE ? 'any-key' : 'nobody';
}

/**
 * Path parameters with the address in lower case.
 * @throws SuretyError `invalid_address`.
 */
export function checkedParams(params: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const address = params['address'];
  if (address === undefined) return params;
  if (!isAddress(address)) throw new SuretyError('invalid_address',
    'The address in the path must be 0x followed by 40 hexadecimal digits.');
  return { ...params, address: normaliseAddress(address) };
}

/** @throws SuretyError `unauthorized` or `forbidden`. */
export function grant({ access, method }: { readonly access: Access; readonly method: Method }, identity: Identity,
    { params, rule, url }: { readonly params: Readonly<Record<string, string>>; readonly rule: AdminRule; readonly url: string }): Granted {
  const { caller, hasAdminSecret } = identity;
  switch (access) {
    case 'public':
      return { caller, isAdmin: hasAdminSecret };
    case 'agent':
      return { caller: required(caller), isAdmin: hasAdminSecret };
    case 'agent_or_admin':
      return { caller: hasAdminSecret ? caller : required(caller), isAdmin: hasAdminSecret };
    case 'agent_or_link':
      return { caller: /[?&]token=[^&]/.test(url) ? caller : required(caller), isAdmin: false };
    case 'owner':
      // The admin may look at what an agent has; acting for it is the agent's own.
      if (hasAdminSecret && method === 'get') return { caller, isAdmin: true };
      if (required(caller).address !== params['address']) throw new SuretyError('forbidden', 'This API key belongs to another agent.');
      return { caller, isAdmin: hasAdminSecret };
    case 'admin':
      if (rule === 'any-key') return { caller: required(caller), isAdmin: true };
      if (!hasAdminSecret) throw new SuretyError('forbidden', 'Only the admin of this platform may do that.',
        { recovery: 'Send the admin secret as X-Admin-Secret.' });
      return { caller, isAdmin: true };
  }
}

function required(caller: Caller | null): Caller {
  if (caller === null) throw new SuretyError('unauthorized', 'A valid API key is required.');
  return caller;
}
