/** A platform for the tests of one file, with a market of its own for each test, and one question after all of them. */
import { startPlatform, type TestPlatform } from './platform.ts';
import { startSeller, type Behaviour, type Seller } from './sellers.ts';

export interface PlatformSuite {
  platform(): TestPlatform;
  /** A seller that is closed after the test. */
  seller(name?: string, behaviour?: Behaviour): Promise<Seller>;
}

/**
 * Registers the hooks of a test file: one platform before all, an empty market before each test, and after each test the books must
 * be right. Call it at the top of the file.
 */
export function createPlatformSuite(settings: Readonly<Record<string, string>> = {}): PlatformSuite {
  let running: TestPlatform;
  let sellers: Seller[] = [];

  beforeAll(async () => {
    running = await startPlatform(settings);
  }, 60_000);
  afterEach(async () => {
    await running.db.pool.query('UPDATE service SET active = false');
    await running.registry.catalogue.refresh();
    await Promise.all(sellers.map((seller) => seller.close()));
    sellers = [];
    await running.booksAreRight();
  });
  afterAll(async () => {
    await running.close();
  }, 30_000);

  return {
    platform: () => running,
    async seller(name = 'Good', behaviour) {
      const started = await startSeller(name, behaviour);
      sellers.push(started);
      return started;
    },
  };
}

/** Does something again and again until it is so; fails with the last reason when the time is up. */
export async function eventually<T>(look: () => Promise<T>, { withinMs = 10_000, everyMs = 50 } = {}): Promise<T> {
  const until = Date.now() + withinMs;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  }
}

