/** The benchmark case of long calls on a small platform: what it keeps open is open, a turn is a whole life, and nothing is left over. */
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { longCallsWith } from '../../bench/cases/long-calls.ts';
import { createHttpClient } from '../../bench/http-client.ts';
import { createBuyers, createSellers } from '../../bench/market.ts';
import type { World } from '../../bench/world.ts';
import { createWire } from '../../demo/wire.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'gateway' });
const root = fileURLToPath(new URL('../..', import.meta.url));
let sellersProcess: ChildProcess;

beforeAll(() => {
  sellersProcess = spawn('node', ['--import', 'tsx', 'bench/sellers-main.ts', '2'], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
});
afterAll(() => {
  sellersProcess.kill('SIGTERM');
});

test('opens calls, completes the oldest in each turn, and settles all at the end', async () => {
  const printed = await new Promise<string>((resolve) => sellersProcess.stdout?.once('data', (text) => resolve(String(text))));
  const { ports } = JSON.parse(printed) as { ports: number[] };
  const wire = createWire(platform().baseUrl);
  const price = '0.001';
  const [sellers, buyers] = [await createSellers(wire, ports, price), await createBuyers(wire, 'a-secret-for-tests', 2)];
  const world = { wire, sellers, buyers, pool: platform().db.pool } as Partial<World> as World;
  const stateCounts = async () => (await platform().db.pool.query<{ state: string; n: number }>(
    'SELECT state, count(*)::integer AS n FROM gateway_call GROUP BY state ORDER BY state')).rows;

  const benchCase = longCallsWith(6);
  const setup = await benchCase.prepare(world);
  await eventually(async () => {
    const { rows } = await platform().db.pool.query('SELECT 1 FROM long_call WHERE begun_at IS NOT NULL');
    expect(rows).toHaveLength(6);
  }, { withinMs: 20_000 });
  const { hostname, port } = new URL(platform().baseUrl);
  const turn = benchCase.turns(setup, { host: hostname, port: Number(port) });
  const client = createHttpClient(hostname, Number(port));
  for (let n = 0; n < 3; n += 1) expect(await turn(client, () => 0.4)).toMatchObject({ stepsMs: { buy: expect.any(Number) } });
  client.close();
  expect(await stateCounts()).toEqual([{ state: 'accepted', n: 6 }, { state: 'settled', n: 3 }]);
  await benchCase.finish?.(world, setup);
  expect(await stateCounts()).toEqual([{ state: 'settled', n: 9 }]);
}, 60_000);
