/** Schedules on the server: made when they are missing, changed when they are there. */
import { type Client, ScheduleAlreadyRunning, type ScheduleOptions, ScheduleOverlapPolicy } from '@temporalio/client';

/** A workflow without input that is started again and again. */
export interface Repeated {
  /** The same at every start of every process. */
  readonly scheduleId: string;
  readonly workflowType: string;
  readonly taskQueue: string;
  readonly everyMs: number;
  /** A sentence for whoever finds it in the UI. */
  readonly note: string;
}

/**
 * Makes the schedule, or brings the one that is there up to date. One that somebody has paused stays paused. Runs do not overlap: while one
 * is under way the next is left out, and of those missed in an outage none is made up for.
 * @throws when the server does not answer or does not allow it.
 */
export async function putSchedule(client: Client, { scheduleId, workflowType, taskQueue, everyMs, note }: Repeated): Promise<void> {
  const wanted = {
    spec: { intervals: [{ every: everyMs }] },
    // The server adds the time to the id.
    action: { type: 'startWorkflow', workflowType, taskQueue, workflowId: scheduleId, args: [] },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1m' },
  } satisfies Omit<ScheduleOptions, 'scheduleId'>;
  try {
    await client.schedule.create({ scheduleId, ...wanted, state: { note } });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    await client.schedule.getHandle(scheduleId).update(({ state }) => ({ ...wanted, state: { ...state, note } }));
  }
}
