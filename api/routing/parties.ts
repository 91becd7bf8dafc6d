/** Who takes part in a payment may see it, and so may the admin; everybody else is refused in one way. */
import { SuretyError } from '../../domain/errors.ts';
import type { Caller } from './route.ts';

/** Who asks. */
export interface Asking {
  readonly caller: Caller | null;
  readonly isAdmin: boolean;
}

/**
 * The party that asks: its address, or `admin`.
 * @param refusal what those are answered who take no part.
 */
export function onlyParties({ caller, isAdmin }: Asking, parties: readonly (string | null)[], refusal: () => SuretyError): string {
  if (isAdmin) return 'admin';
  if (caller !== null && parties.includes(caller.address)) return caller.address;
  throw refusal();
}

/** 403 for a wrong role. Clients of the first system know it by this code. @param recovery whose key to use. */
export function wrongParty(message: string, recovery: string): SuretyError {
  return new SuretyError('unauthorized', message, { status: 403, recovery });
}
