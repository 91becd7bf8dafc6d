import { setTimeout as sleep } from 'node:timers/promises';
import type { Registry } from '../../registry/registry.ts';
import { anAgent, aRegistry } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
let registry: Registry;
/** The registry of a second process on the same database. */
let elsewhere: Registry;

beforeAll(async () => {
  db = await createTestDatabase();
  registry = aRegistry(db);
  elsewhere = aRegistry(db);
  await registry.start();
  await elsewhere.start();
});
afterAll(async () => {
  await registry?.stop();
  await elsewhere?.stop();
  await db?.close();
});

/** Waits until the other process has heard, at most five seconds. */
async function eventually(check: () => Promise<boolean>): Promise<boolean> {
  for (let n = 0; n < 250; n += 1) {
    if (await check()) return true;
    await sleep(20);
  }
  return false;
}

test('a key has the promised shape, and its id says nothing of its secret', async () => {
  const { key } = await anAgent(registry);
  expect(key.secret).toMatch(/^sk_[0-9a-f]{64}$/);
  expect(key.keyId).toMatch(/^ak_[0-9a-f]{16}$/);
  expect(key.secret).not.toContain(key.keyId.slice(3));
});

test.each([
  ['empty', ''],
  ['without its prefix', 'a'.repeat(64)],
  ['too short', `sk_${'a'.repeat(63)}`],
  ['in upper case', `sk_${'A'.repeat(64)}`],
  ['unknown', `sk_${'a'.repeat(64)}`],
  ['a key id', `ak_${'a'.repeat(16)}`],
])('a secret that is %s belongs to nobody', async (_, secret) => {
  expect(await registry.keys.authenticate(secret)).toBeNull();
});

test('only the hash of the secret is stored', async () => {
  const { key } = await anAgent(registry);
  const { rows } = await db.pool.query(
    `SELECT length(secret_hash) AS bytes, row_to_json(k)::text LIKE '%' || $2 || '%' AS readable FROM api_key k WHERE id = $1`,
    [key.keyId, key.secret.slice(3)]);
  expect(rows).toEqual([{ bytes: 32, readable: false }]);
});

test('every key acts for the tenant of its agent, the one in use from the moment on at which the agent joins', async () => {
  const { address, key } = await anAgent(registry);
  expect(await elsewhere.keys.authenticate(key.secret)).toMatchObject({ tenantId: null });
  await db.pool.query(`UPDATE agent SET tenant_id = 'ten_1' WHERE address = $1`, [address]);
  expect(await eventually(async () => (await elsewhere.keys.authenticate(key.secret))?.tenantId === 'ten_1')).toBe(true);
  const further = await registry.keys.create(address, 'Second');
  expect(await registry.keys.authenticate(further.secret)).toMatchObject({ tenantId: 'ten_1', keyName: 'Second' });
  const successor = await registry.keys.regenerate(address, further.keyId);
  expect(await registry.keys.authenticate(successor.secret)).toMatchObject({ tenantId: 'ten_1', keyName: 'Second' });
});

test('a revoked key is dead at once here and a moment later in every other process', async () => {
  const { address, key } = await anAgent(registry);
  const further = await registry.keys.create(address, 'Second');
  expect(await elsewhere.keys.authenticate(further.secret)).not.toBeNull();
  expect(await registry.keys.authenticate(further.secret)).not.toBeNull();
  await registry.keys.revoke({ address, keyId: key.keyId }, further.keyId);
  expect(await registry.keys.authenticate(further.secret)).toBeNull();
  expect(await eventually(async () => (await elsewhere.keys.authenticate(further.secret)) === null)).toBe(true);
  expect(await registry.keys.list(address, { after: null, limit: 10 }))
    .toMatchObject([{ id: further.keyId, revoked: true }, { id: key.keyId, revoked: false }]);
});

test('revoking twice changes nothing', async () => {
  const { address, key } = await anAgent(registry);
  const further = await registry.keys.create(address, 'Second');
  await registry.keys.revoke({ address, keyId: key.keyId }, further.keyId);
  const before = await db.prisma.apiKey.findUnique({ where: { id: further.keyId } });
  await registry.keys.revoke({ address, keyId: key.keyId }, further.keyId);
  expect(await db.prisma.apiKey.findUnique({ where: { id: further.keyId } })).toEqual(before);
});

test('a key is refused with the code that fits', async () => {
  const { address, key } = await anAgent(registry);
  const other = await anAgent(registry);
  const gone = await registry.keys.create(address, 'Gone');
  await registry.keys.revoke({ address, keyId: key.keyId }, gone.keyId);
  const holder = { address, keyId: key.keyId };
  await expect(registry.keys.revoke(holder, key.keyId)).rejects.toMatchObject({ code: 'cannot_revoke_current' });
  await expect(registry.keys.revoke(holder, other.key.keyId)).rejects.toMatchObject({ code: 'key_not_found' });
  await expect(registry.keys.revoke(holder, 'ak_none')).rejects.toMatchObject({ code: 'key_not_found' });
  await expect(registry.keys.regenerate(address, other.key.keyId)).rejects.toMatchObject({ code: 'key_not_found' });
  await expect(registry.keys.regenerate(address, gone.keyId)).rejects.toMatchObject({ code: 'invalid_state' });
});

test('of two regenerations at once one wins, and the agent is never left without a key', async () => {
  const { address, key } = await anAgent(registry);
  const outcomes = await Promise.allSettled([1, 2].map(() => registry.keys.regenerate(address, key.keyId)));
  expect(outcomes.map((outcome) => outcome.status).sort()).toEqual(['fulfilled', 'rejected']);
  expect((await registry.keys.list(address, { after: null, limit: 10 })).filter((record) => !record.revoked)).toHaveLength(1);
  expect(await registry.keys.authenticate(key.secret)).toBeNull();
});

test('keys of a deleted agent are dead, and no new one can be issued', async () => {
  const { address, key } = await anAgent(registry);
  await registry.keys.authenticate(key.secret);
  await registry.agents.remove(address);
  expect(await registry.keys.authenticate(key.secret)).toBeNull();
  expect(await eventually(async () => (await elsewhere.keys.authenticate(key.secret)) === null)).toBe(true);
  await expect(registry.keys.create(address, 'New')).rejects.toMatchObject({ code: 'agent_not_found' });
});

test('a process whose listening connection was cut believes the database, not its memory, and listens again', async () => {
  const { address, key } = await anAgent(registry);
  const further = await registry.keys.create(address, 'Second');
  await elsewhere.keys.authenticate(further.secret);
  await db.pool.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'surety-registry-listener'`);
  expect(await eventually(() => Promise.resolve(!elsewhere.changes.isLive()))).toBe(true);
  await registry.keys.revoke({ address, keyId: key.keyId }, further.keyId);
  expect(await elsewhere.keys.authenticate(further.secret)).toBeNull();
  expect(await eventually(() => Promise.resolve(elsewhere.changes.isLive() && registry.changes.isLive()))).toBe(true);
});

test('the last use is written when the process stops', async () => {
  const mine = aRegistry(db);
  await mine.start();
  const { address, key } = await anAgent(mine);
  await mine.keys.authenticate(key.secret);
  await mine.stop();
  expect(await registry.keys.list(address, { after: null, limit: 10 })).toMatchObject([{ lastUsedAt: expect.any(Date) }]);
});
