/** Two versions of the workers side by side, as docs/changing-workflows.md describes it, on a real server. */
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { Connection } from '@temporalio/client';
import proto from '@temporalio/proto';
import { deploymentName, taskQueues, workflowIdFor } from '../../workflows/contracts/ids.ts';
import { createNodes, type Nodes, type PlatformNode } from '../support/nodes.ts';
import { eventually } from '../support/platform-suite.ts';
import type { Trader } from '../support/market.ts';

jest.setTimeout(180_000);

const { TaskQueueType, VersionDrainageStatus } = proto.temporal.api.enums.v1;

let nodes: Nodes;
let connection: Connection;
let a: PlatformNode;
beforeAll(async () => {
  nodes = await createNodes();
  connection = await Connection.connect({ address: nodes.temporal.address });
  a = await nodes.start({ WORKER_BUILD_ID: 'a' });
});
afterAll(async () => {
  await connection?.close();
  await nodes?.close();
});

const namespaceOf = (): { namespace: string } => ({ namespace: nodes.temporal.namespace });
/** `temporal worker deployment set-current-version`; refused while no worker of the version polls, and known to queues a moment later. */
async function setCurrent(buildId: string): Promise<void> {
  await eventually(() => connection.workflowService.setWorkerDeploymentCurrentVersion(
    { ...namespaceOf(), deploymentName, buildId, identity: 'operator' }), { withinMs: 30_000, everyMs: 500 });
  await eventually(async () => {
    const { versioningInfo } = await connection.workflowService.describeTaskQueue(
      { ...namespaceOf(), taskQueue: { name: taskQueues.escrow }, taskQueueType: TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW });
    expect(versioningInfo?.currentDeploymentVersion?.buildId).toBe(buildId);
  });
}

async function isOver(escrowId: string): Promise<boolean> {
  const { workflowExecutionInfo } = await connection.workflowService.describeWorkflowExecution(
    { ...namespaceOf(), execution: { workflowId: workflowIdFor('escrow', escrowId) } });
  return Boolean(workflowExecutionInfo?.closeTime);
}

/** The version that took the latest task of the workflow. */
async function versionOf(escrowId: string): Promise<string> {
  const { workflowExecutionInfo } = await connection.workflowService.describeWorkflowExecution(
    { ...namespaceOf(), execution: { workflowId: workflowIdFor('escrow', escrowId) } });
  return workflowExecutionInfo?.versioningInfo?.deploymentVersion?.buildId ?? 'none';
}

async function openEscrow(node: PlatformNode): Promise<{ id: string; buyer: Trader; seller: Trader }> {
  const [buyer, seller] = [await node.aTrader('5.00'), await node.aTrader()];
  const { status, body } = await node.ask('POST', '/v1/escrow', { key: buyer.key,
    body: { buyerAddr: buyer.address, sellerAddr: seller.address, amount: '1.00' } });
  expect(status).toBe(201);
  return { id: body.escrow.id as string, buyer, seller };
}

test('what one version opened is finished by the next once that is current, and the old one is drained', async () => {
  await setCurrent('a');
  const first = await openEscrow(a);
  await eventually(async () => expect(await versionOf(first.id)).toBe('a'));

  // It serves nothing before it is current.
  await nodes.startWorker({ WORKER_BUILD_ID: 'b' });
  const second = await openEscrow(a);
  await eventually(async () => expect(await versionOf(second.id)).toBe('a'));
  await setCurrent('b');

  for (const { id, buyer } of [first, second]) {
    expect(await a.ask('POST', `/v1/escrow/${id}/confirm`, { key: buyer.key })).toMatchObject({ status: 200 });
    await eventually(async () => expect([await isOver(id), await versionOf(id)]).toEqual([true, 'b']));
  }
  const b = await nodes.start({ WORKER_BUILD_ID: 'b' });
  const third = await openEscrow(b);
  await eventually(async () => expect(await versionOf(third.id)).toBe('b'));

  await eventually(async () => {
    const { workerDeploymentVersionInfo: info } = await connection.workflowService.describeWorkerDeploymentVersion(
      { ...namespaceOf(), deploymentVersion: { deploymentName, buildId: 'a' } });
    expect(info?.drainageInfo?.status).toBe(VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINED);
  }, { withinMs: 60_000, everyMs: 500 });
  a.send('SIGTERM');
  expect(await a.ended).toBe(0);
  await openEscrow(b);
  await b.booksAreRight();
});
