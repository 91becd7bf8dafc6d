/** Valid agents, services and payments; a test changes the one field it is about. */
import { createHash, randomBytes } from 'node:crypto';
import { Wallet } from 'ethers';
import type pg from 'pg';
import { parseAmount } from '../../domain/money.ts';
import { createLog } from '../../platform/log.ts';
import type { AgentFields } from '../../registry/agents.ts';
import type { IssuedKey } from '../../registry/keys.ts';
import { createRegistry, type Registry, type RegistryDeps } from '../../registry/registry.ts';
import type { NewService, ServiceRecord } from '../../registry/services.ts';
import type { TestDatabase } from './database.ts';

export const platformAddress = '0x00000000000000000000000000000000000000fe';
export const silent = createLog('silent', 'test');

/** The registry on a test database; demo mode, and every endpoint is fine, unless the test says otherwise. Start and stop it yourself. */
export function aRegistry({ url, pool, prisma }: TestDatabase, change: Partial<RegistryDeps> = {}): Registry {
  return createRegistry({ db: prisma, reads: prisma, pool, databaseUrl: url, log: silent, checkEndpoint: () => Promise.resolve(),
    demoMode: true, platformAddress, ...change });
}

/** A key pair; quick, because its secret is only a hash. */
export function aWallet(): Wallet {
  return new Wallet(`0x${createHash('sha256').update(randomBytes(16)).digest('hex')}`);
}

/** An address nobody has the key of. */
export function anAddress(): string {
  return `0x${randomBytes(20).toString('hex')}`;
}

export interface RegisteredAgent {
  readonly address: string;
  readonly key: IssuedKey;
}

/** A registered agent with its first key. */
export async function anAgent({ agents }: Registry,
    { address = anAddress(), ...fields }: Partial<AgentFields> & { address?: string } = {}): Promise<RegisteredAgent> {
  const { key } = await agents.register(address, { name: 'Agent', ...fields }, null);
  return { address, key };
}

/** A service of the agent that the gateway can call. `price` is decimal text. */
export function aService({ services }: Registry, address: string,
    { price = '0.10', ...fields }: Partial<NewService> & { price?: string } = {}): Promise<ServiceRecord> {
  return services.add(address,
    { type: 'translation', name: 'Translation', priceMicros: parseAmount(price), endpoint: 'http://127.0.0.1:9/work', ...fields });
}

/** Credits money from outside. `amount` is decimal text. */
export async function aDeposit(pool: pg.Pool, owner: string, amount: string, asset = 'USDC'): Promise<void> {
  await pool.query('SELECT ledger_deposit($1, $2, $3, $4, NULL)',
    [owner, asset, parseAmount(amount).toString(), `0x${randomBytes(32).toString('hex')}`]);
}

/** A settled payment by hold and capture, the buyer being funded first. @returns its reference. */
export async function aPayment(pool: pg.Pool,
    { from, to, amount = '0.10', fee }: { from: string; to: string; amount?: string; fee?: string }): Promise<string> {
  const ref = `call_${randomBytes(12).toString('hex')}`;
  const micros = parseAmount(amount).toString();
  await aDeposit(pool, from, amount);
  await pool.query(`SELECT ledger_hold($1, $2, 'USDC', $3, 'pending', NULL)`, [`hold_${ref}`, from, micros]);
  const feeMicros = fee === undefined ? '0' : parseAmount(fee).toString();
  await pool.query('SELECT ledger_capture(ARRAY[$1], ARRAY[$2], ARRAY[$2], ARRAY[$3], ARRAY[$4::bigint], ARRAY[$5::bigint], $6)',
    [`hold_${ref}`, ref, to, micros, feeMicros, platformAddress]);
  await pool.query('SELECT ledger_close_hold($1, 0)', [`hold_${ref}`]);
  return ref;
}
