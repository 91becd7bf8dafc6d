/** How much work waits in each task queue, by the server's own count: what an autoscaler of workers goes by. */
import proto from '@temporalio/proto';
import { tsToMs } from '@temporalio/common/lib/time.js';
import type { WorkerQueue } from '../platform/env.ts';
import type { Backlog, Metrics } from '../platform/metrics.ts';
import { remembered } from '../platform/remembered.ts';
import type { WorkerTemporal } from '../temporal/connection.ts';

export interface BacklogOptions {
  readonly metrics: Pick<Metrics, 'watchBacklog'>;
  readonly temporal: Pick<WorkerTemporal, 'client' | 'namespace'>;
  readonly queues: readonly WorkerQueue[];
  /** Name of the task queue on the server. */
  readonly taskQueue: (queue: WorkerQueue) => string;
  /** The server is asked at most this often, however many scrape. Milliseconds. */
  readonly everyMs?: number;
}

const EVERY_MS = 15_000;
/** A scrape waits no longer; without an answer it has no backlog, which is not the same as none. */
const ANSWER_MS_MAX = 1_000;

const { TaskQueueType } = proto.temporal.api.enums.v1;
const kinds = { workflow: TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, activity: TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY } as const;

/** Adds the backlog to the figures. It has no series while the server does not answer, or does not know the queue. */
export function watchBacklog(options: BacklogOptions): void {
  options.metrics.watchBacklog(remembered(() => backlogsOf(options), options.everyMs ?? EVERY_MS));
}

/** What the server says of all queues; without those of which it says nothing. Never rejects. */
async function backlogsOf({ temporal: { client, namespace }, queues, taskQueue }: BacklogOptions): Promise<readonly Backlog[]> {
  const asked = queues.flatMap((queue) => Object.entries(kinds).map(async ([kind, taskQueueType]): Promise<Backlog[]> => {
    const request = { namespace, taskQueue: { name: taskQueue(queue) }, taskQueueType, reportStats: true };
    const { stats } = await client.withDeadline(Date.now() + ANSWER_MS_MAX, () => client.workflowService.describeTaskQueue(request));
    if (!stats) return [];
    const { approximateBacklogCount: tasks, approximateBacklogAge: age } = stats;
    return [{ queue, kind, tasks: Number(tasks ?? 0), ageMs: age ? tsToMs(age) : undefined }];
  }));
  return (await Promise.allSettled(asked)).flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
}
