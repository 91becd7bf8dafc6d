/** One shape of payment, as a process runs it: a task queue with its activities, and the jobs that stand behind its workflows. */
import type { Spine } from '../payments/spine.ts';
import type { Crash } from '../platform/crash.ts';
import type { Deadline } from '../platform/deadline.ts';
import type { WorkerQueue } from '../platform/env.ts';
import type { Job } from './jobs.ts';
import type { Parts } from './parts.ts';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- any function may be an activity; its own types are kept where it is made
export type Activities = Record<string, (...args: any[]) => Promise<unknown>>;

export interface Shape {
  readonly queue: WorkerQueue;
  readonly activities: Activities;
  /** Run by processes that serve the queue. */
  readonly jobs: readonly Job[];
  /** When the process begins to serve the queue. */
  readonly begin?: () => void;
  /** Once the worker takes no new tasks: lets go of what others can finish, waits for the rest until then. */
  readonly drain?: (until: Deadline) => Promise<void>;
  /** After the worker has stopped. */
  readonly stop?: () => void;
}

/** What a shape is built from. */
export interface ShapeContext extends Omit<Parts, 'stop' | 'prisma' | 'databaseUrl' | 'cards' | 'codec'> {
  readonly crash: Crash;
  readonly spine: Spine;
  /** Full name of a task queue: tests add a suffix, so that they do not serve one another. */
  readonly taskQueue: (queue: WorkerQueue) => string;
}
