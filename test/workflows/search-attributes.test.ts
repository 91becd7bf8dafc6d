/** A server that lacks search attributes, or has them with another type, stops no payment; health says what cannot be searched by. */
import { randomBytes } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import proto from '@temporalio/proto';
import { createSearchAttributes, type SearchAttributes } from '../../temporal/search-attributes.ts';
import { setStage } from '../support/escrows.ts';
import { createTestDatabase } from '../support/database.ts';
import { anOpenMultistep, confirm, refund } from '../support/multistep.ts';
import { createNamespace, nodesOn } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';
import { testServers } from '../support/servers.ts';

const { INDEXED_VALUE_TYPE_KEYWORD: KEYWORD, INDEXED_VALUE_TYPE_INT: INT } = proto.temporal.api.enums.v1.IndexedValueType;
const all = ['AmountUsd', 'Buyer', 'PaymentOutcome', 'PaymentState', 'Seller', 'Tenant'];
/** What a namespace of this server has room for. */
const KEYWORDS_MAX = 10;

let connection: Connection;
const made: SearchAttributes[] = [];
beforeAll(async () => {
  connection = await Connection.connect({ address: testServers().temporalAddress });
}, 30_000);
afterAll(async () => {
  for (const attributes of made) attributes.stop();
  await connection.close();
});

/** A namespace of the test's own, which has these attributes. */
async function aNamespace(has: Readonly<Record<string, number>> = {}): Promise<string> {
  const namespace = `attributes-${randomBytes(4).toString('hex')}`;
  await createNamespace(testServers().temporalAddress, namespace);
  if (Object.keys(has).length > 0) await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: has });
  return namespace;
}

async function attributesIn(namespace: string): Promise<SearchAttributes> {
  const attributes = createSearchAttributes({ connection, namespace });
  made.push(attributes);
  await attributes.refresh();
  return attributes;
}

/** Full of other people's attributes: ours cannot be registered. The amount is there, as something else. */
const crowded = (): Promise<string> =>
  aNamespace({ ...Object.fromEntries(Array.from({ length: KEYWORDS_MAX - 1 }, (_, n) => [`Other${n}`, KEYWORD])),
    Buyer: KEYWORD, AmountUsd: INT });

/** Starts a workflow that nobody serves. */
function startIn(namespace: string, attributes: SearchAttributes) {
  const client = new Client({ connection, namespace });
  return attributes.starting({ Buyer: '0xb', PaymentState: 'open', AmountUsd: 1.5 }, ({ typedSearchAttributes, names }) =>
      client.workflow.start('none', {
    workflowId: `none-${randomBytes(4).toString('hex')}`, taskQueue: 'nobody', args: [names], typedSearchAttributes,
  }));
}

test('what a server lacks is registered, and everything can then be searched by', async () => {
  const namespace = await aNamespace();
  const attributes = await attributesIn(namespace);
  expect([...attributes.usable()].sort()).toEqual(all);
  expect(attributes.detail()).toBeNull();
  const { searchAttributes } = await (await startIn(namespace, attributes)).describe();
  expect(searchAttributes).toEqual({ Buyer: ['0xb'], PaymentState: ['open'], AmountUsd: [1.5] });
});

test('what cannot be registered, or has another type, is left out of starts and named in the detail', async () => {
  const namespace = await crowded();
  const attributes = await attributesIn(namespace);
  expect([...attributes.usable()]).toEqual(['Buyer']);
  expect(attributes.detail()).toBe('Search attributes of Temporal are missing: Seller, PaymentState, PaymentOutcome, Tenant; '
    + 'of another type: AmountUsd (wanted: Double). Payments go on; searching by these finds nothing that starts meanwhile.');
  expect(attributes.forStart({ Buyer: '0xb', AmountUsd: 1 }))
    .toMatchObject({ names: ['Buyer'], typedSearchAttributes: [{ value: '0xb' }] });
  const { searchAttributes } = await (await startIn(namespace, attributes)).describe();
  expect(searchAttributes).toEqual({ Buyer: ['0xb'] });
});

test('a start that is refused because an attribute has just gone is tried again without it', async () => {
  const namespace = await aNamespace();
  const attributes = await attributesIn(namespace);
  await connection.operatorService.removeSearchAttributes({ namespace, searchAttributes: ['AmountUsd'] });
  await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: { AmountUsd: KEYWORD } });
  const { searchAttributes } = await (await startIn(namespace, attributes)).describe();
  expect(searchAttributes).toMatchObject({ Buyer: ['0xb'], PaymentState: ['open'] });
  expect(attributes.usable().has('AmountUsd')).toBe(false);
  expect(attributes.detail()).toContain('of another type: AmountUsd');
});

test('a server that may not be asked is believed when it refuses, one attribute after the other', async () => {
  const namespace = await crowded();
  const operatorService = { listSearchAttributes: () => Promise.reject(new Error('permission denied')) } as never;
  const attributes = createSearchAttributes({ connection: { operatorService, withDeadline: (_deadline, ask) => ask() }, namespace });
  made.push(attributes);
  expect([...attributes.usable()].sort()).toEqual(all);
  const { searchAttributes } = await (await startIn(namespace, attributes)).describe();
  expect(searchAttributes).toEqual({ Buyer: ['0xb'] });
  expect(attributes.detail()).toMatch(/refused by the server: PaymentState, AmountUsd\./);
});

test('a refusal for another reason is nobody\'s search attribute: it is passed on after one try', async () => {
  const attributes = await attributesIn(await aNamespace());
  let tries = 0;
  await expect(attributes.starting({ Buyer: '0xb' }, () => {
    tries += 1;
    return Promise.reject(new Error('the server is tired'));
  })).rejects.toThrow('tired');
  expect(tries).toBe(1);
});

test('without an answer of the server, what was known stays', async () => {
  const gone = await Connection.connect({ address: testServers().temporalAddress });
  const attributes = createSearchAttributes({ connection: gone, namespace: await crowded() });
  made.push(attributes);
  await attributes.refresh();
  await gone.close();
  await attributes.refresh();
  expect([...attributes.usable()]).toEqual(['Buyer']);
}, 20_000);

test('on a server that lacks most of them payments begin, move and end with their workflows, and health says what is wrong', async () => {
  const [db, namespace] = [await createTestDatabase(), await crowded()];
  const nodes = nodesOn({ databaseUrl: db.url, temporalAddress: testServers().temporalAddress, namespace }, db.pool);
  try {
    const node = await nodes.start();
    const { workflow } = new Client({ connection, namespace });
    const detail = expect.stringMatching(/missing: Seller, PaymentState.*AmountUsd \(wanted: Double\)/);
    expect((await node.ask('GET', '/health')).body)
      .toMatchObject({ status: 'healthy', checks: { temporal: 'healthy' }, details: { temporal: detail } });
    const { body: { subsystems } } = await node.ask('GET', '/health/ready');
    expect(subsystems).toContainEqual({ name: 'temporal', healthy: true, detail });

    const escrow = await anOpenMultistep(node);
    expect((await confirm(node, escrow, 0)).status).toBe(200);
    expect((await refund(node, escrow)).status).toBe(200);
    expect(await workflow.getHandle(escrow.workflowId).result()).toMatchObject({ state: 'aborted' });
    const session = await node.aSession();
    await node.closeSession(session);
    expect(await workflow.getHandle(`gateway-session-${session.token}`).result()).toMatchObject({ state: 'closed' });
    const stage = await setStage(node, '10');
    const onEngine = await stage.anEscrow();
    for (const [step, who] of [['deliver', stage.cast.seller], ['confirm', stage.cast.buyer]] as const) expect(
      (await stage.step(onEngine, step, who)).status).toBe(200);
    expect(await workflow.getHandle(`escrow-${onEngine}`).result()).toMatchObject({ state: 'released', resolution: 'buyer_confirmed' });
    await eventually(async () => expect((await db.pool.query('SELECT 1 FROM workflow_notice')).rowCount).toBe(0));
    const found: string[] = [];
    await eventually(async () => {
      found.length = 0;
      for await (const { workflowId } of workflow.list({ query: `Buyer = '${escrow.buyer.address}'` })) found.push(workflowId);
      expect(found).toEqual([escrow.workflowId]);
    });
    await node.booksAreRight();
  } finally {
    await nodes.close();
    await db.close();
  }
}, 90_000);
