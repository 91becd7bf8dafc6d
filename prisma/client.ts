import { PrismaPg } from '@prisma/adapter-pg';
import { PrismaClient } from './generated/client.ts';

/** Prisma's own types, for queries that are put together. */
export { Prisma } from './generated/client.ts';
/** The typed client of the database. */
export type Db = PrismaClient;

/** Typed access to rows for reads and control-plane writes. Money moves only through `ledger/` and the SQL functions. */
export function createPrisma(databaseUrl: string, connectionsMax = 5): Db {
  return new PrismaClient({ adapter: new PrismaPg({ connectionString: databaseUrl, max: connectionsMax }) });
}
