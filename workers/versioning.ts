/** Which version of the workers this process is, where the operator tells versions apart (docs/changing-workflows.md). */
import type { WorkerOptions } from '@temporalio/worker';
import type { Env } from '../platform/env.ts';
import { deploymentName } from '../workflows/contracts/ids.ts';

/**
 * What the SDK takes of it; nothing where WORKER_BUILD_ID is unset, and the server then asks no worker for its version. Workflows move on
 * to the current version with their next task: a payment may live for a year, and no operator keeps workers of last year
 * (docs/decisions/payments-move-to-the-current-version.md).
 */
export function versionOf({ WORKER_BUILD_ID: buildId }: Pick<Env, 'WORKER_BUILD_ID'>): Pick<WorkerOptions, 'workerDeploymentOptions'> {
  if (buildId === undefined) return {};
  return { workerDeploymentOptions: {
    version: { deploymentName, buildId }, useWorkerVersioning: true, defaultVersioningBehavior: 'AUTO_UPGRADE',
  } };
}
