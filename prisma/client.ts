import { PrismaPg } from '@prisma/adapter-pg';
import type pg from 'pg';
import { PrismaClient } from './generated/client.ts';

/** Prisma's own types, for queries that are put together. */
export { Prisma } from './generated/client.ts';
/** The typed client of the database. */
export type Db = PrismaClient;

/**
 * Typed access to rows over a pool of ours, with its limits; the pool outlives the client. For reads and control-plane writes: money moves
 * only through `ledger/` and the SQL functions.
 */
export function createPrisma(pool: pg.Pool): Db {
  return new PrismaClient({ adapter: new PrismaPg(pool) });
}
