import { randomBytes } from 'node:crypto';
import {
  connectWorker, installTemporalRuntime, type ConnectOptions, type TemporalTarget, type WorkerTemporal,
} from '../../temporal/connection.ts';
import { silent } from './builders.ts';
import { testServers } from './servers.ts';

/** The suite's Temporal. Workflow ids and task queues must be unique to a test: the server is shared by all of them. */
export interface TestTemporal extends WorkerTemporal {
  /** A task queue that nobody else uses, such as `gateway-1f2e3d4c`. */
  taskQueue(name: string): string;
}

/** Once for a process, before its first connection: the SDK must not write to the output of the tests. */
let quiet = false;

/**
 * Connects to the suite's Temporal: `nativeConnection` for a worker, `client` on the same connection. Close it in `afterAll`.
 * `dataConverter` and `hash`: where payloads or searches are not plain.
 */
export async function connectTestTemporal(
  { dataConverter, hash }: Pick<TemporalTarget, 'dataConverter'> & Pick<ConnectOptions, 'hash'> = {},
): Promise<TestTemporal> {
  if (!quiet) installTemporalRuntime(silent);
  quiet = true;
  const temporal = await connectWorker({ address: testServers().temporalAddress, namespace: 'default', dataConverter }, { hash });
  return { ...temporal, taskQueue: (name) => `${name}-${randomBytes(4).toString('hex')}` };
}
