import { SuretyError } from '../domain/errors.ts';
import type { Prisma } from '../prisma/client.ts';

/**
 * Share-locks the agent's row for the rest of the transaction, so that nothing can be added to an agent while it is being deleted
 * and come back to life with it.
 * @throws SuretyError `agent_not_found` when there is no such agent, or no longer.
 */
export async function lockAlive(tx: Prisma.TransactionClient, address: string): Promise<void> {
  const alive = await tx.$queryRaw<unknown[]>`SELECT 1 FROM agent WHERE address = ${address} AND deleted_at IS NULL FOR SHARE`;
  if (alive.length === 0) throw new SuretyError('agent_not_found', 'There is no agent with this address.');
}

/** Control-plane transactions are short; under a burst of registrations they may wait for a connection for a while. */
export const transactionOptions = { maxWait: 10_000, timeout: 15_000 };
