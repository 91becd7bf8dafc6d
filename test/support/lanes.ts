/**
 * Crash stories side by side. Each lane has a database, a namespace and a survivor of its own: whatever a dead process has left is for
 * nobody else.
 */
import { createNodes, type Nodes, type PlatformNode } from './nodes.ts';
import { startSeller, type Behaviour, type Seller } from './sellers.ts';
import { createStories } from './stories.ts';

export interface Lane {
  readonly nodes: Nodes;
  /** Stays alive all the time. */
  readonly survivor: PlatformNode;
}

export interface Lanes {
  /** A test that runs beside those of the other lanes, after those of its own. */
  story(name: string, run: (lane: Lane) => Promise<void>, timeoutMs: number): void;
  /** A seller that is closed after the last test. */
  aSeller(name: string, behaviour?: Behaviour): Promise<Seller>;
}

/** Most of the time a lane waits for a lease or for Temporal to notice a death; three keep two cores busy. */
const LANES = 3;

/** Registers the hooks of a test file. @param settings of every process. */
export function createLanes(settings: Readonly<Record<string, string>>): Lanes {
  const lanes: Lane[] = [];
  const sellers: Seller[] = [];
  const opened: Nodes[] = [];

  beforeAll(async () => {
    await Promise.all(Array.from({ length: LANES }, async () => {
      const nodes = await createNodes(settings);
      opened.push(nodes);
      lanes.push({ nodes, survivor: await nodes.start() });
    }));
  }, 120_000);
  const { story } = createStories(LANES);
  afterAll(async () => {
    await Promise.all(sellers.map((seller) => seller.close()));
    await Promise.all(opened.map((nodes) => nodes.close()));
  }, 60_000);

  return {
    story: (name, run, timeoutMs) => story(name, (number) => {
      const lane = lanes[number];
      if (lane === undefined) throw new Error(`There is no lane ${number}.`);
      return run(lane);
    }, timeoutMs),
    async aSeller(name, behaviour = { kind: 'ok' }) {
      const seller = await startSeller(name, behaviour);
      sellers.push(seller);
      return seller;
    },
  };
}
