/**
 * API keys. The secret is shown once and stored as SHA-256; the id is random and says nothing of the secret. Every request asks
 * `authenticate`, so answers are cached, and the cache is emptied the moment any process revokes a key or deletes an agent.
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type pg from 'pg';
import { SuretyError } from '../domain/errors.ts';
import { idPrefixes } from '../domain/ids.ts';
import type { Logger } from '../platform/log.ts';
import type { Db, Prisma } from '../prisma/client.ts';
import type { ApiKey as ApiKeyRow } from '../prisma/generated/client.ts';
import { lockAlive, transactionOptions } from './alive.ts';
import type { RegistryChanges } from './changes.ts';
import { createLastUsedWriter } from './last-used.ts';
import { behind, type PageWish } from './pages.ts';

/** Whoever holds a valid API key. */
export interface KeyHolder {
  readonly address: string;
  readonly keyId: string;
  readonly keyName: string;
  /** Of the agent, whichever key it uses. */
  readonly tenantId: string | null;
  readonly createdAt: Date;
}

/** A key as its owner may see it; never with its secret. */
export interface KeyRecord {
  readonly id: string;
  readonly name: string;
  readonly createdAt: Date;
  readonly lastUsedAt: Date | null;
  readonly revoked: boolean;
}

/** A new key. The only moment at which the secret exists in readable form. */
export interface IssuedKey {
  readonly secret: string;
  readonly keyId: string;
  readonly name: string;
}

export interface ApiKeys {
  /** The holder of a secret, or null when it is malformed, unknown, revoked, or its agent is gone. */
  authenticate(secret: string): Promise<KeyHolder | null>;
  /** A further key of the agent. Errors: agent_not_found. */
  create(address: string, name: string): Promise<IssuedKey>;
  /** Newest first, revoked ones included. */
  list(address: string, page: PageWish): Promise<KeyRecord[]>;
  /** One key of the agent, or null. */
  find(address: string, keyId: string): Promise<KeyRecord | null>;
  /** Ends a key; a second time changes nothing. Errors: key_not_found, cannot_revoke_current. */
  revoke(holder: Pick<KeyHolder, 'address' | 'keyId'>, keyId: string): Promise<void>;
  /** Ends a key and issues its successor in the same transaction. Errors: key_not_found, invalid_state (it was revoked before). */
  regenerate(address: string, keyId: string): Promise<IssuedKey>;
  stop(): Promise<void>;
}

const secretShape = /^sk_[0-9a-f]{64}$/;
const cacheEntriesMax = 50_000;
/** Behind the notifications stands an end of its own, for changes made by hand with triggers switched off. */
const cacheTtlMs = 300_000;

/** SHA-256 as base64. The one-shot function: every request pays for this, and a hash object costs three times as much. */
const hashOf = (secret: string): string => hash('sha256', secret, 'base64');

/**
 * Writes a new key inside the caller's transaction. Errors: agent_not_found.
 */
export async function issueKey(tx: Prisma.TransactionClient, address: string, name: string): Promise<IssuedKey> {
  await lockAlive(tx, address);
  const secret = idPrefixes.apiSecret + randomBytes(32).toString('hex');
  const keyId = idPrefixes.apiKey + randomBytes(8).toString('hex');
  const secretHash = new Uint8Array(Buffer.from(hashOf(secret), 'base64'));
  await tx.apiKey.create({ data: { id: keyId, agentAddress: address, name, secretHash } });
  return { secret, keyId, name };
}

interface KeyRow { id: string; agent_address: string; tenant_id: string | null; name: string; secret_hash: Buffer; created_at: Date }

const findKeySql = {
  name: 'registry-find-key',
  text: `SELECT k.id, k.agent_address, a.tenant_id, k.name, k.secret_hash, k.created_at
           FROM api_key k JOIN agent a ON a.address = k.agent_address
          WHERE k.secret_hash = $1 AND k.revoked_at IS NULL AND a.deleted_at IS NULL`,
};

/** Answers who holds a secret, from memory where it can. Forgets everything when notified of a change. */
function createAuthenticator({ pool, changes }: { pool: pg.Pool; changes: RegistryChanges }) {
  const cache = new LRUCache<string, KeyHolder>({ max: cacheEntriesMax, ttl: cacheTtlMs });
  const lookups = new Map<string, Promise<KeyHolder | null>>();
  // Counts the changes heard of, so that a row read before a revocation is not cached after it.
  let generation = 0;
  const forget = (): void => {
    generation += 1;
    cache.clear();
    lookups.clear();
  };
  const unsubscribe = changes.subscribe((change) => {
    if (change === 'api_key' || change === 'agent' || change === 'everything') forget();
  });

  async function lookUp(id: string): Promise<KeyHolder | null> {
    const readIn = generation;
    const presented = Buffer.from(id, 'base64');
    const { rows } = await pool.query<KeyRow>({ ...findKeySql, values: [presented] });
    const row = rows[0];
    // The index has compared the hashes already; this comparison takes the same time wherever they differ.
    if (row === undefined || !timingSafeEqual(row.secret_hash, presented)) return null;
    const holder: KeyHolder =
      Object.freeze({ address: row.agent_address, keyId: row.id, keyName: row.name, tenantId: row.tenant_id, createdAt: row.created_at });
    if (changes.isLive() && readIn === generation) cache.set(id, holder);
    return holder;
  }

  return {
    async find(secret: string): Promise<KeyHolder | null> {
      if (!secretShape.test(secret)) return null;
      const id = hashOf(secret);
      // A deaf cache is no cache: while the listener is away, every request asks the database.
      const cached = changes.isLive() ? cache.get(id) : undefined;
      if (cached !== undefined) return cached;
      const underWay = lookups.get(id);
      if (underWay !== undefined) return underWay;
      const lookup = lookUp(id).finally(() => {
        if (lookups.get(id) === lookup) lookups.delete(id);
      });
      lookups.set(id, lookup);
      return lookup;
    },
    forget,
    stop: unsubscribe,
  };
}

function toRecord({ id, name, createdAt, lastUsedAt, revokedAt }: ApiKeyRow): KeyRecord {
  return { id, name, createdAt, lastUsedAt, revoked: revokedAt !== null };
}

/** Creates the key registry of this process. Call `stop` to write the last uses that are still waiting. */
export function createApiKeys({ db, reads, pool, changes, log }: {
  readonly db: Db; readonly reads: Db; readonly pool: pg.Pool; readonly changes: RegistryChanges; readonly log: Logger;
}): ApiKeys {
  const authenticator = createAuthenticator({ pool, changes });
  const lastUsed = createLastUsedWriter({ pool, log });

  return {
    async authenticate(secret) {
      const holder = await authenticator.find(secret);
      if (holder !== null) lastUsed.note(holder.keyId);
      return holder;
    },
    create: (address, name) => db.$transaction((tx) => issueKey(tx, address, name), transactionOptions),
    async list(address, { after, limit }) {
      const rows = await reads.apiKey.findMany({ where: { agentAddress: address, ...behind('id', after) },
        orderBy: [{ createdAt: 'desc' }, { id: 'desc' }], take: limit });
      return rows.map(toRecord);
    },
    async find(address, keyId) {
      const row = await reads.apiKey.findFirst({ where: { id: keyId, agentAddress: address } });
      return row === null ? null : toRecord(row);
    },
    async revoke(holder, keyId) {
      if (keyId === holder.keyId) throw new SuretyError('cannot_revoke_current', 'This is the key the request was made with.');
      const known = await db.apiKey.findFirst({ where: { id: keyId, agentAddress: holder.address }, select: { id: true } });
      if (known === null) throw new SuretyError('key_not_found', 'You have no key with this id.');
      await db.apiKey.updateMany({ where: { id: keyId, revokedAt: null }, data: { revokedAt: new Date() } });
      authenticator.forget();
    },
    async regenerate(address, keyId) {
      const issued = await db.$transaction(async (tx) => {
        const old = await tx.apiKey.findFirst({ where: { id: keyId, agentAddress: address } });
        if (old === null) throw new SuretyError('key_not_found', 'You have no key with this id.');
        // The write is the check: of two requests at once only one gets a successor.
        const { count } = await tx.apiKey.updateMany({ where: { id: keyId, revokedAt: null }, data: { revokedAt: new Date() } });
        if (count === 0) throw new SuretyError('invalid_state', 'This key was revoked before.',
          { recovery: 'Create a new key with POST /v1/auth/keys.' });
        return issueKey(tx, address, old.name);
      }, transactionOptions);
      authenticator.forget();
      return issued;
    },
    async stop() {
      authenticator.stop();
      await lastUsed.stop();
    },
  };
}
