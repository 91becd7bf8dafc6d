/** Builds the world of a case: house, sellers, load generator, buyers with money. */
import pg from 'pg';
import { openHouse, type House } from '../demo/house.ts';
import { createWire } from '../demo/wire.ts';
import type { BenchCase } from './case.ts';
import { createBuyers, createSellers } from './market.ts';
import type { World } from './world.ts';

export interface WorldOptions {
  readonly benchCase: Pick<BenchCase, 'population' | 'price'>;
  readonly notice: (sentence: string) => void;
  readonly signal?: AbortSignal;
  /** Directory for a processor profile of the platform process, written when it stops. */
  readonly profileDir?: string;
}

/** The platform as an operator would run it, with limits so high that the measurement does not meet them. */
const settings = { LOG_LEVEL: 'warn', DEMO_MODE: 'true' };
/** Where the servers of a run keep their files. */
export const DATA_DIR = '.surety-bench';
const PORT = 8090;

/** @throws when a part does not start; whatever has started is stopped then. */
export async function buildWorld({ benchCase, notice, signal, profileDir }: WorldOptions): Promise<{ world: World;
    close(): Promise<void> }> {
  const house = await openHouse({ dataDir: DATA_DIR, port: PORT, settings, notice, signal, nodeArgs: profileDir === undefined ? []
    : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`] });
  const pool = new pg.Pool({ connectionString: house.databaseUrl, max: 2 });
  // Idle connections break when Postgres stops; nobody needs to hear of it.
  pool.on('error', () => undefined);
  const close = async (): Promise<void> => {
    await pool.end();
    await house.close();
  };
  try {
    return { world: await fill(house, pool, benchCase, notice), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function fill(house: House, pool: pg.Pool, benchCase: WorldOptions['benchCase'], notice: (sentence: string) => void): Promise<World> {
  const begun = performance.now();
  const { population, price } = benchCase;
  const [api, sellerProcess, load] = await Promise.all([
    house.startNode(),
    house.startHelper({ name: 'The sellers', script: 'bench/sellers-main.ts', args: [String(population.sellers)],
      ready: /\{"ports":\[[\d,]+\]\}/, channel: true }),
    house.startHelper({ name: 'The load generator', script: 'bench/load-main.ts', ready: /load generator ready/, channel: true }),
  ]);
  notice(`The platform is ready after ${((performance.now() - begun) / 1000).toFixed(1)} s (process ${api.pid}).`);
  const { ports } = JSON.parse(sellerProcess.readyMatch[0]) as { ports: number[] };
  const wire = createWire(house.url);
  const sellers = await createSellers(wire, ports, price);
  const buyers = await createBuyers(wire, house.adminSecret, population.buyers);
  notice(`${sellers.length} sellers and ${buyers.length} buyers have joined.`);
  return {
    wire, host: house.host, port: house.port, adminSecret: house.adminSecret, databaseUrl: house.databaseUrl, pool, api,
    sellerProcess, load, buyers, sellers,
    roots: { api: api.pid, postgres: house.postgresPid, temporal: house.temporalPid, sellers: sellerProcess.pid, load: load.pid },
  };
}
