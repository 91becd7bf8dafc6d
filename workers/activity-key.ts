/** The idempotency key of a step that a workflow takes for an operator. */
import { activityInfo } from '@temporalio/activity';

/** The same for every run of the activity that runs now: a step is not refused as taken before when the first worker died before it could say so. */
export function activityKey(): string {
  const { workflowExecution, activityId } = activityInfo();
  return `${workflowExecution?.runId}:${activityId}`;
}
