/** Names that callers and workflows share. */
import type { Chore } from '../../domain/chores.ts';

/** One task queue for each shape of work, so that each can be scaled alone. */
export const taskQueues = {
  gateway: 'surety-gateway', escrow: 'surety-escrow', card: 'surety-card', multistep: 'surety-multistep',
  pipeline: 'surety-pipeline', stream: 'surety-stream',
} as const;
export type TaskQueueName = keyof typeof taskQueues;

/** All workers of the platform, as Temporal's Worker Versioning knows them. */
export const deploymentName = 'surety';

const workflowPrefixes = {
  gatewaySession: 'gateway-session', gatewayCalls: 'gateway-calls', gatewayCall: 'gateway-call', escrow: 'escrow',
  virtualCard: 'virtual-card', multistepEscrow: 'multistep-escrow', pipeline: 'pipeline', stream: 'stream',
} as const;
export type WorkflowKind = keyof typeof workflowPrefixes;

/** The id of the workflow of a payment; the only place that knows how it is built. */
export function workflowIdFor(kind: WorkflowKind, id: string): string {
  return `${workflowPrefixes[kind]}-${id}`;
}

/** The id of a schedule of the platform's own work; its workflows have it too, with the time of their start behind it. */
export function scheduleIdFor(chore: Chore, queueSuffix = ''): string {
  return `surety-${chore}${queueSuffix}`;
}
