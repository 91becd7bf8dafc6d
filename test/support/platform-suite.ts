/** A platform for the tests of one file, with a market of its own for each test, and one question after all of them. */
import { startPlatform, type TestPlatform } from './platform.ts';
import { startSeller, type Behaviour, type Seller } from './sellers.ts';
import { createStories, type Stories } from './stories.ts';

export interface PlatformSuite {
  platform(): TestPlatform;
  /** A seller that is closed after the test. */
  seller(name?: string, behaviour?: Behaviour): Promise<Seller>;
  /** A test that mostly waits; it runs beside the others of its kind, with types of service that no other test of the file uses. */
  readonly story: Stories['story'];
}

/** They share a process with the platform itself, so more of them only wait for one another. */
const STORIES_AT_ONCE = 6;

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
  const { story, left } = createStories(STORIES_AT_ONCE);
  afterEach(async () => {
    await running.booksAreRight();
    // The market is still in use.
    if (left() > 0) return;
    await running.db.pool.query('UPDATE service SET active = false');
    await running.registry.catalogue.refresh();
    await Promise.all(sellers.map((seller) => seller.close()));
    sellers = [];
  });
  afterAll(async () => {
    await running.close();
  }, 30_000);

  return {
    platform: () => running, story,
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

