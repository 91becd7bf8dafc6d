/**
 * How the worker of each task queue is dimensioned. Slots are fixed: the SDK's supplier by resources aims at memory and processors of the
 * whole machine, where Postgres and Temporal may live too, and what bounds us is the pool of database connections
 * (docs/decisions/slots-and-pollers.md). Workflow task slots are more than pollers can reserve, or no eager start finds a free one.
 */
import type { WorkerOptions } from '@temporalio/worker';
import type { WorkerQueue } from '../platform/env.ts';

/** What the SDK takes of it. */
export type QueueTuning = Required<Pick<WorkerOptions, 'maxConcurrentWorkflowTaskExecutions' | 'maxConcurrentLocalActivityExecutions'
  | 'maxConcurrentActivityTaskExecutions' | 'maxCachedWorkflows' | 'workflowTaskPollerBehavior' | 'activityTaskPollerBehavior'>>;

type PollerBehavior = QueueTuning['workflowTaskPollerBehavior'];

/** As many as the server's answers ask for. Idle queues poll twice, not twenty times: a server counts the open polls of all processes. */
const onDemand: PollerBehavior = { type: 'autoscaling', minimum: 1, initial: 2, maximum: 10 };
/** Ready for bursts at any time, eight of them for the workflows this worker has cached. */
const always: PollerBehavior = { type: 'simple-maximum', maximum: 10 };

/**
 * Payments that wait for people and clocks. A step is one transaction, a local activity at a time for each workflow: more slots for those
 * than for workflow tasks are never used, and more ordinary ones than money has connections (20) would only wait for one inside their time.
 */
const waiting = {
  maxConcurrentWorkflowTaskExecutions: 40, maxConcurrentLocalActivityExecutions: 40, maxConcurrentActivityTaskExecutions: 20,
  workflowTaskPollerBehavior: onDemand, activityTaskPollerBehavior: onDemand,
} as const;

/**
 * One row a queue. Cached workflows cost about 100 kB each, and a process is to stay under 600 MB, of which 550 are in use under load with
 * few of them cached; so all queues together keep 800 at most. One that is not cached is replayed, which costs a step some milliseconds.
 */
export const tuning: Readonly<Record<WorkerQueue, QueueTuning>> = {
  // Many batches of calls, each for a moment: local activities join what the process has under way. Slow sellers take ordinary ones, which
  // wait for them, so their slots are many. Calls leave the cache at once; what stays are sessions.
  gateway: {
    maxConcurrentWorkflowTaskExecutions: 40, maxConcurrentLocalActivityExecutions: 200, maxConcurrentActivityTaskExecutions: 100,
    workflowTaskPollerBehavior: always, activityTaskPollerBehavior: onDemand, maxCachedWorkflows: 300,
  },
  // Few, and their activities wait long: for a seller at each step, and for compensations that are called again for a day.
  pipeline: {
    maxConcurrentWorkflowTaskExecutions: 40, maxConcurrentLocalActivityExecutions: 40, maxConcurrentActivityTaskExecutions: 100,
    workflowTaskPollerBehavior: onDemand, activityTaskPollerBehavior: onDemand, maxCachedWorkflows: 100,
  },
  // Days between two steps, but the steps of an opening and its delivery often come close together.
  escrow: { ...waiting, maxCachedWorkflows: 150 },
  // One charge, and over.
  card: { ...waiting, maxCachedWorkflows: 50 },
  // Up to a hundred steps in a row: worth keeping.
  multistep: { ...waiting, maxCachedWorkflows: 100 },
  // Ticks never come here; a workflow wakes for its idle timer.
  stream: { ...waiting, maxCachedWorkflows: 100 },
};
