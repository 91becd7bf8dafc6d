/** Rounds of the platform's own work, as schedules start them. */
import { taskQueues } from '../../workflows/contracts/ids.ts';
import type { TestPlatform } from '../support/platform.ts';
import type { Story } from './stories.ts';

async function oneRound({ temporal, queueSuffix }: TestPlatform, workflowType: 'retention' | 'audit'): Promise<string> {
  const workflowId = `story-${workflowType}${queueSuffix}`;
  await temporal.client.workflow.start(workflowType, { workflowId, taskQueue: taskQueues.pipeline + queueSuffix, args: [] });
  return workflowId;
}

export const choreStories: readonly Story[] = [
  { name: 'chores-retention', live: (platform) => oneRound(platform, 'retention') },
  { name: 'chores-audit', live: (platform) => oneRound(platform, 'audit') },
];
