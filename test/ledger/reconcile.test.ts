/** What the admin is told of the books. */
import { aDeposit, anAgent } from '../support/builders.ts';
import { directPayments } from '../support/payments.ts';
import { startRegistryApp, type RegistryApp } from '../support/registry-app.ts';

let world: RegistryApp;
beforeAll(async () => {
  world = await startRegistryApp();
  await aDeposit(world.db.pool, world.ada.address, '5');
});
afterAll(() => world?.close());

describe('The books', () => {
  test('are proven account by account and as a whole', async () => {
    const good = await world.asAdmin('GET /v1/admin/reconcile');
    expect(good).toMatchObject({ status: 200,
      body: { ok: true, findings: [], results: expect.arrayContaining([expect.objectContaining({ match: true })]) } });
    expect((await world.asAdmin('GET /v1/admin/ledger/reconcile?discrepancies=true')).body).toMatchObject({ results: [], count: 0 });
    expect((await world.asAdmin('POST /v1/admin/reconcile')).body)
      .toMatchObject({ report: { healthy: true, ledgerMismatches: 0, orphanedHolds: 0, stuckEscrows: 0, staleStreams: 0,
        invariantViolations: 0, findings: [],
      durationMs: expect.any(Number) } });
  });

  test('that were tampered with are called wrong, and the account is named', async () => {
    const { address } = await anAgent(world.registry);
    await aDeposit(world.db.pool, address, '1');
    const tamper = (by: number): Promise<unknown> =>
      world.db.pool.query('UPDATE account SET available = available + $2 WHERE owner = $1', [address, by]);
    await tamper(1);
    const { body } = await world.asAdmin('GET /v1/admin/reconcile?discrepancies=true');
    expect(body).toMatchObject({ ok: false, count: 1,
      results: [{ agentAddr: address, match: false, replayAvailable: '1.000000', actualAvailable: '1.000001' }] });
    const { report } = (await world.asAdmin('POST /v1/admin/reconcile', {})).body;
    expect(report).toMatchObject({ healthy: false, ledgerMismatches: expect.any(Number) });
    expect(report.ledgerMismatches).toBeGreaterThan(0);
    await tamper(-1);
  });

  test('are for the admin', async () => {
    expect((await world.asAda('GET /v1/admin/reconcile')).status).toBe(403);
  });

  const figures = async (): Promise<Record<string, number>> => (await world.asAdmin('POST /v1/admin/reconcile', {})).body.report;

  test('count a hold of nobody as orphaned', async () => {
    const { address } = await anAgent(world.registry);
    await aDeposit(world.db.pool, address, '1');
    await world.db.pool.query(`SELECT ledger_hold('nobody', $1, 'USDC', 1000000, 'pending', NULL)`, [address]);
    expect(await figures()).toMatchObject({ healthy: false, orphanedHolds: 1, stuckEscrows: 0, staleStreams: 0, ledgerMismatches: 0 });
    await world.db.pool.query(`SELECT ledger_close_hold('nobody', 0)`);
  });

  test('count an escrow as stuck a minute after its deadline', async () => {
    const { address: buyer } = await anAgent(world.registry);
    await aDeposit(world.db.pool, buyer, '1');
    const { id } = await (await directPayments(world.db.pool)).escrow({ buyer, seller: world.bob.address });
    const late = (seconds: number) =>
      world.db.pool.query('UPDATE payment SET deadline = now() - $2 * interval \'1 second\' WHERE id = $1', [id, seconds]);
    await late(50);
    expect((await figures())['stuckEscrows']).toBe(0);
    await late(70);
    expect(await figures()).toMatchObject({ stuckEscrows: 1, staleStreams: 0 });
  });
});
