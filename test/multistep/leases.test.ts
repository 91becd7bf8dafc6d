/** Two processes sweep the same overdue escrows: each is worked on by one of them, and one that cannot be ended holds up no other. */
import { setTimeout as sleep } from 'node:timers/promises';
import { anOpenMultistep, read, type OpenMultistep } from '../support/multistep.ts';
import { createNodes } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';

/** A lease of the sweeper (payments/payments.ts) with its next round. */
const LEASE_MS = 33_000;
const WITHIN_A_LEASE_MS = 4_500;

test('an overdue escrow that cannot be ended is tried once in each lease, however many processes there are', async () => {
  const nodes = await createNodes({ WORKER_QUEUES: 'multistep' });
  try {
    const [node] = await Promise.all([nodes.start(), nodes.start()]);
    const [stuck, next] = [await anOpenMultistep(node), await anOpenMultistep(node)];
    await makeUnendable(stuck);
    const overdue = (escrow: OpenMultistep, secs: number) =>
      nodes.pool.query(`UPDATE payment SET deadline = clock_timestamp() - $2 * interval '1 second' WHERE id = $1`,
        [escrow.id, secs]);
    // One round finds both, in whichever order.
    await overdue(stuck, 60);
    await overdue(next, 30);
    const tries = async (): Promise<number> =>
      Number((await nodes.pool.query<{ last_value: string }>('SELECT last_value FROM tries')).rows[0]?.last_value);
    await eventually(async () => expect((await read(node, next)).body.escrow).toMatchObject({ status: 'aborted', resolution: 'expired' }));
    await eventually(async () => expect(await tries()).toBe(1));
    await sleep(WITHIN_A_LEASE_MS);
    expect(await tries()).toBe(1);
    await eventually(async () => expect(await tries()).toBe(2), { withinMs: LEASE_MS });
    await sleep(WITHIN_A_LEASE_MS);
    expect(await tries()).toBe(2);

    await nodes.pool.query('DROP TRIGGER unendable ON payment');
    // As if this lease were over too.
    await nodes.pool.query('UPDATE payment SET claimed_until = NULL WHERE id = $1', [stuck.id]);
    await eventually(async () => expect((await read(node, stuck)).body.escrow).toMatchObject({ status: 'aborted', resolution: 'expired' }));
    await node.booksAreRight();
  } finally {
    await nodes.close();
  }

  /** Whoever tries to end it fails; a sequence counts the tries, because it does not roll back. */
  async function makeUnendable({ id }: OpenMultistep): Promise<void> {
    await nodes.pool.query(`
      CREATE SEQUENCE tries MINVALUE 0 START 0;
      SELECT nextval('tries');
      CREATE FUNCTION refuse_to_end() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM nextval('tries'); RAISE EXCEPTION 'not this one'; END $$;
      CREATE TRIGGER unendable BEFORE UPDATE OF state ON payment FOR EACH ROW
        WHEN (OLD.id = '${id}' AND NEW.state <> 'open') EXECUTE FUNCTION refuse_to_end();`);
  }
}, 150_000);
