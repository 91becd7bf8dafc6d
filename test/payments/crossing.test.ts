/**
 * An update of an operator that ends a payment while a message of the platform is on its way. Temporal refuses the end of a run that has
 * not seen all its messages, and used to tell the operator of a failed task although the step had been done.
 */
import type pg from 'pg';
import { setStage } from '../support/escrows.ts';
import { anOpenMultistep } from '../support/multistep.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { aStream } from '../support/streams.ts';

const { platform } = createPlatformSuite();

/** Holds the row of a payment, so that its steps wait, until `meanwhile` is over. */
async function whileHeld(table: string, id: string, meanwhile: () => Promise<void>): Promise<void> {
  const client: pg.PoolClient = await platform().db.pool.connect();
  try {
    await client.query('BEGIN');
    await client.query(`SELECT 1 FROM ${table} WHERE id = $1 FOR UPDATE`, [id]);
    await meanwhile();
  } finally {
    await client.query('COMMIT');
    client.release();
  }
}

const somebodyWaits = async (): Promise<void> => {
  const { rowCount } = await platform()
    .db.pool.query(`SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`);
  expect(rowCount).toBe(1);
};

const kinds: Readonly<Record<string,
    { table: string; update: string; state: string; make: () => Promise<{ id: string; workflowId: string }> }>> = {
  'an escrow': {
    table: 'payment', update: 'surety-confirm', state: 'released',
    async make() {
      const id = await (await setStage(platform(), '10')).anEscrow();
      return { id, workflowId: `escrow-${id}` };
    },
  },
  'a multistep escrow': { table: 'payment', update: 'surety-refund', state: 'aborted', make: () => anOpenMultistep(platform()) },
  'a stream': { table: 'payment', update: 'surety-close', state: 'closed', make: () => aStream(platform()) },
};

test.each(Object.entries(kinds))('the operator who ends %s hears of the end, whatever crosses the update',
    async (_kind, { table, update, state, make }) => {
  const { id, workflowId } = await make();
  const handle = platform().temporal.client.workflow.getHandle(workflowId);
  const view = await eventually(() => handle.query<object>('surety-view'));
  let answer: Promise<unknown> = Promise.resolve();
  await whileHeld(table, id, async () => {
    answer = handle.executeUpdate(update, { args: [] });
    answer.catch(() => undefined);
    await eventually(somebodyWaits);
    await handle.signal('surety-moved', view);
  });
  expect(await answer).toMatchObject({ state, ended: true });
  expect(await handle.result()).toMatchObject({ state });
});
