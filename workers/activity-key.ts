/** The idempotency key of a step that an escrow's workflow takes for an operator. Others have keys of messages: workflows/message-keys.ts. */
import { activityInfo } from '@temporalio/activity';

/** The same for every run of the activity that runs now: a step is not refused as taken before when the first worker died before it could say so. */
export function activityKey(): string {
  const { workflowExecution, activityId } = activityInfo();
  return `${workflowExecution?.runId}:${activityId}`;
}
