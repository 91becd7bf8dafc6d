/**
 * The platform's own work: removing what was kept long enough, and proving the books. Temporal's schedules start it, so that it is done
 * once however many processes there are, and each run can be read in the UI. Behind them stands a job in every process that serves a
 * queue: it does the same work when that is overdue by more than an interval, which means that Temporal is away.
 */
import { cancellationSignal, heartbeat } from '@temporalio/activity';
import { createChoreActivities } from '../activities/chores.ts';
import type { Chore } from '../domain/chores.ts';
import { putSchedule, type Repeated } from '../temporal/schedules.ts';
import { scheduleIdFor } from '../workflows/contracts/ids.ts';
import { createAudit } from './audit.ts';
import type { Job } from './jobs.ts';
import { createRetentionRounds } from './retention.ts';
import type { Shape, ShapeContext } from './shape.ts';

export interface Chores {
  /** Runs them where the queue is served. */
  readonly shape: Shape;
  /** What stands behind the schedules, for every process that serves a queue. */
  readonly backstops: readonly Job[];
}

/** A queue of its own would cost every process another worker. Its work is as that of chores: few activities that take long. */
const QUEUE = 'pipeline';
/** After a start that found no Temporal. */
const SCHEDULES_EVERY_MS = 60_000;

const notes: Readonly<Record<Chore, string>> = {
  retention: 'Removes what was kept long enough (docs/operations.md, what leaves and when).',
  audit: 'Proves the books (docs/operations.md, the audit).',
};

/** @param queueSuffix of the names of task queues; schedules have it too. */
export function createChores(context: ShapeContext, queueSuffix: string): Chores {
  const { env, log, metrics, pool } = context;
  const retention = createRetentionRounds(context);
  const audit = createAudit({ pool, log, metrics, everyMs: env.AUDIT_EVERY });
  const stopping = new AbortController();
  const activities = createChoreActivities({
    retention: retention.round, audit: audit.round, heartbeat, signal: () => AbortSignal.any([stopping.signal, cancellationSignal()]),
  });
  const repeated = (chore: Chore, everyMs: number): Repeated => ({
    scheduleId: scheduleIdFor(chore, queueSuffix), workflowType: chore, taskQueue: context.taskQueue(QUEUE), everyMs, note: notes[chore],
  });
  const schedules = createSchedulesJob(context, [repeated('retention', env.RETENTION_EVERY), repeated('audit', env.AUDIT_EVERY)]);
  return {
    backstops: [retention.backstop, audit.backstop],
    shape: {
      queue: QUEUE, activities: { ...activities }, jobs: [schedules], begin: () => void schedules.run(stopping.signal),
      drain() {
        // Whoever comes next goes on; an audit begins anew.
        stopping.abort(new Error('This process stops.'));
        return Promise.resolve();
      },
    },
  };
}

/** Puts the schedules on the server, and is done once that has worked. */
function createSchedulesJob({ temporal: { client }, log }: ShapeContext, wanted: readonly Repeated[]): Job {
  let missing = wanted;
  return {
    name: 'schedules', everyMs: SCHEDULES_EVERY_MS,
    async run() {
      for (const repeated of missing) {
        try {
          await client.withDeadline(Date.now() + 10_000, () => putSchedule(client, repeated));
          missing = missing.filter((each) => each !== repeated);
        } catch (error) {
          log.warn({ err: error, schedule: repeated.scheduleId }, 'A schedule could not be set up; a local job stands in until it can.');
        }
      }
    },
  };
}
