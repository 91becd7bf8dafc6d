/**
 * Agents. An address belongs to whoever holds its key: registering, coming back after a deletion, and getting a new API key all need
 * a proof of control. Only DEMO_MODE lets a fresh address in without one, and never an address that money or history hangs on.
 */
import { SuretyError } from '../domain/errors.ts';
import type { AgentStats, Agent as AgentRow, Service as ServiceRow } from '../prisma/generated/client.ts';
import type { Db, Prisma } from '../prisma/client.ts';
import { transactionOptions } from './alive.ts';
import type { Catalogue } from './catalogue.ts';
import type { RegistryChanges } from './changes.ts';
import { issueKey, type IssuedKey } from './keys.ts';
import { behind, type PageWish } from './pages.ts';
import type { Ownership, OwnershipProof } from './ownership.ts';
import { toService, type JsonObject, type ServiceRecord } from './services.ts';

/** What an agent says of itself. */
export interface AgentFields {
  readonly name: string;
  readonly description?: string;
  readonly ownerAddress?: string | null;
  readonly endpoint?: string | null;
  readonly metadata?: JsonObject;
}

export interface AgentRecord {
  readonly address: string;
  readonly name: string;
  readonly description: string;
  readonly ownerAddress: string | null;
  readonly endpoint: string | null;
  readonly metadata: JsonObject;
  /** When control of the address was proven; null for a plain registration in demo mode. */
  readonly provenAt: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly services: readonly ServiceRecord[];
  /** Null until the reputation job has seen the agent trade. */
  readonly stats: AgentStats | null;
}

export interface AgentFilter extends PageWish {
  readonly serviceType?: string;
  /** true: with at least one active service; false: with none. */
  readonly active?: boolean;
  readonly offset: number;
}

export interface Agents {
  /** Errors: proof_required, invalid_signature, agent_exists. The agent and its first key appear together or not at all. */
  register(address: string, fields: AgentFields, proof: OwnershipProof | null): Promise<{ agent: AgentRecord; key: IssuedKey }>;
  /**
   * A new key for whoever proves control of a registered address. Keys of a claimant who never proved anything end with it;
   * `revokeOthers` ends all others. Errors: proof_required, invalid_signature, agent_not_found.
   */
  recover(address: string, proof: OwnershipProof, options: { name: string; revokeOthers: boolean }): Promise<IssuedKey>;
  find(address: string): Promise<AgentRecord | null>;
  /** Newest first. */
  list(filter: AgentFilter): Promise<AgentRecord[]>;
  /** Ends keys and services; the balance stays with the address. Errors: agent_not_found, invalid_state (money is held). */
  remove(address: string): Promise<void>;
}

interface Deps {
  readonly db: Db;
  /** For lists and for looking up. */
  readonly reads: Db;
  readonly ownership: Ownership;
  readonly catalogue: Catalogue;
  readonly changes: RegistryChanges;
  readonly demoMode: boolean;
  /** Owner of the platform's fee account; nobody registers it without proof, not even in demo mode. */
  readonly platformAddress: string;
}

type AgentWithServices = AgentRow & { services: ServiceRow[] };
const liveServices = { where: { deletedAt: null }, orderBy: [{ createdAt: 'asc' }, { id: 'asc' }] } satisfies Prisma.Agent$servicesArgs;

function toAgent(row: AgentWithServices, stats: AgentStats | null): AgentRecord {
  return { ...row, metadata: row.metadata as JsonObject, services: row.services.map(toService), stats };
}

function columnsOf(fields: AgentFields) {
  return {
    name: fields.name, description: fields.description ?? '', ownerAddress: fields.ownerAddress ?? null, endpoint: fields.endpoint ?? null,
    metadata: (fields.metadata ?? {}) as Prisma.InputJsonObject,
  };
}

const recoverAdvice =
  'Use the key you were given at registration, or prove control of the address at POST /v1/auth/recover to get a new one.';
const unknownAgent = (recovery?: string): SuretyError =>
  new SuretyError('agent_not_found', 'There is no agent with this address.', { recovery });

const revokeAll = (tx: Prisma.TransactionClient, address: string) =>
  tx.apiKey.updateMany({ where: { agentAddress: address, revokedAt: null }, data: { revokedAt: new Date() } });

/** Inserts a new agent, or brings a deleted one back when control was proven. */
async function claim(tx: Prisma.TransactionClient, address: string, fields: AgentFields, proven: boolean): Promise<void> {
  const provenAt = proven ? new Date() : null;
  const { count } = await tx.agent.createMany({ data: [{ address, ...columnsOf(fields), provenAt }], skipDuplicates: true });
  if (count === 1) return;
  const [known] = await tx.$queryRaw<{ deleted_at: Date | null }[]>`SELECT deleted_at FROM agent WHERE address = ${address} FOR UPDATE`;
  if (known?.deleted_at === null) throw new SuretyError('agent_exists', 'This address is registered.', { recovery: recoverAdvice });
  if (!proven) throw new SuretyError('proof_required', 'This address was registered before; only a proof of control brings it back.');
  await revokeAll(tx, address);
  await tx.agent.update({ where: { address }, data: { ...columnsOf(fields), provenAt, deletedAt: null, updatedAt: new Date() } });
}

/** Asked after the insert: money that arrives from then on arrives at a registered agent. */
async function refuseWhereMoneyWaits(tx: Prisma.TransactionClient, address: string): Promise<void> {
  const money = await tx.$queryRaw<unknown[]>`SELECT 1 FROM account WHERE owner = ${address} LIMIT 1`;
  if (money.length > 0) throw new SuretyError('proof_required', 'Money waits at this address; only a proof of control gives access to it.');
}

/** Marks the agent deleted and ends its keys and services. @returns the ids of its services. */
async function bury(tx: Prisma.TransactionClient, address: string): Promise<string[]> {
  const locked = await tx.$queryRaw<unknown[]>`SELECT 1 FROM agent WHERE address = ${address} AND deleted_at IS NULL FOR UPDATE`;
  if (locked.length === 0) throw unknownAgent();
  // Locking the account lets a hold that is being made finish first, and then counts it.
  const [account] = await tx.$queryRaw<{
    held: boolean }[]>`SELECT pending + escrowed > 0 AS held FROM account WHERE owner = ${address} FOR UPDATE`;
  if (account?.held === true) {
    throw new SuretyError('invalid_state', 'Money of this agent is held for payments under way.',
      { fundsStatus: 'held_pending', recovery: 'Close the open sessions and payments first.' });
  }
  await revokeAll(tx, address);
  await tx.service.updateMany({ where: { agentAddress: address, active: true }, data: { active: false, updatedAt: new Date() } });
  await tx.agent.update({ where: { address }, data: { deletedAt: new Date(), updatedAt: new Date() } });
  const services = await tx.service.findMany({ where: { agentAddress: address }, select: { id: true } });
  return services.map((service) => service.id);
}

async function find(db: Db, address: string): Promise<AgentRecord | null> {
  const [row, stats] = await Promise.all([
    db.agent.findFirst({ where: { address, deletedAt: null }, include: { services: liveServices } }),
    db.agentStats.findUnique({ where: { address } }),
  ]);
  return row === null ? null : toAgent(row, stats);
}

async function list(db: Db, { serviceType, active, after, limit, offset }: AgentFilter): Promise<AgentRecord[]> {
  const offered: Prisma.ServiceWhereInput = { active: true, deletedAt: null };
  const where: Prisma.AgentWhereInput[] = [{ deletedAt: null }, behind('address', after)];
  if (serviceType !== undefined) where.push({ services: { some: { ...offered, type: serviceType } } });
  if (active !== undefined) where.push({ services: active ? { some: offered } : { none: offered } });
  const rows = await db.agent.findMany({ where: { AND: where }, include: { services: liveServices },
    orderBy: [{ createdAt: 'desc' }, { address: 'desc' }], take: limit, skip: offset });
  const stats = await db.agentStats.findMany({ where: { address: { in: rows.map((row) => row.address) } } });
  const byAddress = new Map(stats.map((row) => [row.address, row]));
  return rows.map((row) => toAgent(row, byAddress.get(row.address) ?? null));
}

/** Creates the registry of agents. */
export function createAgents({ db, reads, ownership, catalogue, changes, demoMode, platformAddress }: Deps): Agents {
  function refuseUnproven(address: string): void {
    if (!demoMode) throw new SuretyError('proof_required', 'Registering needs a proof that you control the address.');
    if (address === platformAddress) throw new SuretyError('proof_required',
      'This address receives the platform fees; only a proof of control registers it.');
  }

  return {
    find: (address) => find(reads, address),
    list: (filter) => list(reads, filter),

    async register(address, fields, proof) {
      if (proof === null) refuseUnproven(address);
      const key = await db.$transaction(async (tx) => {
        if (proof !== null) await ownership.consume(tx, address, proof);
        await claim(tx, address, fields, proof !== null);
        if (proof === null) await refuseWhereMoneyWaits(tx, address);
        return issueKey(tx, address, 'Default key');
      }, transactionOptions);
      // Not among the reads: whoever has just got a key must be shown it, however many others are reading.
      const agent = await find(db, address);
      if (agent === null) throw new SuretyError('invalid_state', 'The agent was deleted at the moment it was registered.');
      return { agent, key };
    },

    async recover(address, proof, { name, revokeOthers }) {
      const key = await db.$transaction(async (tx) => {
        await ownership.consume(tx, address, proof);
        const [agent] = await tx.$queryRaw<{ proven_at: Date | null }[]>`
          SELECT proven_at FROM agent WHERE address = ${address} AND deleted_at IS NULL FOR UPDATE`;
        if (agent === undefined) throw unknownAgent('Register it with POST /v1/agents and this proof.');
        if (revokeOthers || agent.proven_at === null) await revokeAll(tx, address);
        await tx.agent.update({ where: { address }, data: { provenAt: new Date(), updatedAt: new Date() } });
        return issueKey(tx, address, name);
      }, transactionOptions);
      changes.announce('api_key');
      return key;
    },

    async remove(address) {
      const serviceIds = await db.$transaction((tx) => bury(tx, address), transactionOptions);
      changes.announce('agent');
      // Committed by now; the notification brings the catalogue up to date if this read fails.
      await catalogue.refreshServices(serviceIds).catch(() => undefined);
    },
  };
}
