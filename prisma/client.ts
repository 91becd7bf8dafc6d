import { PrismaPg } from '@prisma/adapter-pg';
import { PrismaClient } from './generated/client.ts';
import { timeoutSettings, type ConnectionTimeouts } from './pool.ts';

/** Prisma's own types, for queries that are put together. */
export { Prisma } from './generated/client.ts';
/** The typed client of the database. */
export type Db = PrismaClient;

const CONNECTIONS_MAX = 5;

/** Typed access to rows for reads and control-plane writes. Money moves only through `ledger/` and the SQL functions. */
export function createPrisma(databaseUrl: string, timeouts?: ConnectionTimeouts): Db {
  const limits = timeouts === undefined ? {} : timeoutSettings(timeouts);
  return new PrismaClient({ adapter: new PrismaPg({ ...limits, connectionString: databaseUrl, max: CONNECTIONS_MAX }) });
}
