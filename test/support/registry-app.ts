/** The HTTP edge on a real registry and a test database, with two agents that know nothing of each other. */
import type { Registry } from '../../registry/registry.ts';
import { startApp, type AskOptions, type Reply } from './app.ts';
import { anAgent, aRegistry, type RegisteredAgent } from './builders.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

export interface RegistryApp {
  readonly db: TestDatabase;
  readonly registry: Registry;
  readonly ada: RegisteredAgent;
  readonly bob: RegisteredAgent;
  /** `ask('GET /v1/agents/:ada')`; `:ada` and `:bob` stand for their addresses. */
  ask(line: string, options?: AskOptions): Promise<Reply>;
  asAda(line: string, body?: unknown): Promise<Reply>;
  asAdmin(line: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>;
  close(): Promise<void>;
}

const adminSecret = 'a-secret-for-tests';

/** Starts everything; close it in `afterAll`. */
export async function startRegistryApp(): Promise<RegistryApp> {
  const db = await createTestDatabase();
  const registry = aRegistry(db);
  await registry.start();
  const { keys, agents, services, ownership, catalogue } = registry;
  const app = await startApp({ env: { DEMO_MODE: 'true', ADMIN_SECRET: adminSecret },
    deps: { pool: db.pool, reads: db.pool, prisma: db.prisma, keys, agents, services, ownership, catalogue } });
  const ada = await anAgent(registry, { name: 'Ada' });
  const bob = await anAgent(registry, { name: 'Bob' });
  const ask = (line: string, options?: AskOptions): Promise<Reply> => {
    const [method = 'GET', path = '/'] = line.split(' ');
    return app.ask(method, path.replace(':ada', ada.address).replace(':bob', bob.address), options);
  };
  return {
    db, registry, ada, bob, ask,
    asAda: (line, body) => ask(line, { key: ada.key.secret, body }),
    asAdmin: (line, body, headers) => ask(line, { adminSecret, body, headers }),
    close: async () => {
      await app.close();
      await registry.stop();
      await db.close();
    },
  };
}
