/** Two processes sweep the same overdue escrows: each is worked on by one of them, and one that cannot be ended holds up no other. */
import { setTimeout as sleep } from 'node:timers/promises';
import { anOpenMultistep, read, type OpenMultistep } from '../support/multistep.ts';
import { createNodes } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';

/** A little less than a lease of the sweeper (workers/claims.ts). */
const WITHIN_A_LEASE_MS = 8_500;

test('an overdue escrow that cannot be ended is tried once in each lease, however many processes there are', async () => {
  const nodes = await createNodes({ WORKER_QUEUES: 'multistep' });
  try {
    const [node] = await Promise.all([nodes.start(), nodes.start()]);
    const [stuck, next] = [await anOpenMultistep(node), await anOpenMultistep(node)];
    await makeUnendable(stuck);
    const overdue = (escrow: OpenMultistep, secs: number) =>
      nodes.pool.query(`UPDATE multistep_escrow SET deadline = clock_timestamp() - $2 * interval '1 second' WHERE id = $1`,
        [escrow.id, secs]);
    // The one that cannot be ended is overdue for longest, so it comes first.
    await overdue(stuck, 60);
    await overdue(next, 30);
    const tries = async (): Promise<number> =>
      Number((await nodes.pool.query<{ last_value: string }>('SELECT last_value FROM tries')).rows[0]?.last_value);
    await eventually(async () => expect((await read(node, next)).body.escrow).toMatchObject({ status: 'aborted', resolution: 'expired' }));
    expect(await tries()).toBe(1);
    await sleep(WITHIN_A_LEASE_MS - 4_000);
    expect(await tries()).toBe(1);
    await eventually(async () => expect(await tries()).toBe(2), { withinMs: 12_000 });
    await sleep(4_500);
    expect(await tries()).toBe(2);

    await nodes.pool.query('DROP TRIGGER unendable ON multistep_escrow');
    await eventually(async () => expect((await read(node, stuck)).body.escrow).toMatchObject({ status: 'aborted', resolution: 'expired' }),
      { withinMs: 20_000 });
    await node.booksAreRight();
  } finally {
    await nodes.close();
  }

  /** Whoever tries to end it fails; a sequence counts the tries, because it does not roll back. */
  async function makeUnendable({ id }: OpenMultistep): Promise<void> {
    await nodes.pool.query(`
      CREATE SEQUENCE tries MINVALUE 0 START 0;
      SELECT nextval('tries');
      CREATE FUNCTION refuse_to_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('tries'); RAISE EXCEPTION 'not this one'; END $$;
      CREATE TRIGGER unendable BEFORE UPDATE OF status ON multistep_escrow FOR EACH ROW WHEN (OLD.id = '${id}' AND NEW.status <> 'open') EXECUTE FUNCTION refuse_to_end();`);
  }
}, 90_000);
