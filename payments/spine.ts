/** What all families of payments in a process share on their way to Temporal. */
import type { Client } from '@temporalio/client';
import type pg from 'pg';
import { createNotices, type Notices } from '../ledger/notices.ts';
import type { Logger } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { SearchAttributes } from '../temporal/search-attributes.ts';
import { createCapacity, type Capacity } from './capacity.ts';
import { createKeeper, type Keeper } from './keeper.ts';
import { createMessages, type Messages, type MessagesDeps } from './messages.ts';

export interface Spine {
  readonly notices: Notices;
  readonly messages: Messages;
  readonly capacity: Capacity;
  readonly keeper: Keeper;
  /** How somebody is written in searches; see `SearchAttributes.hash`. */
  readonly searchHash: SearchAttributes['hash'];
}

export interface SpineDeps {
  readonly pool: pg.Pool;
  readonly temporal: Pick<MessagesDeps, 'searchAttributes'> & { readonly client: Client };
  readonly taskQueue: MessagesDeps['taskQueue'];
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Requests that wait for a workflow, and messages of the keeper, at once; measured, see docs/performance.md. */
const TEMPORAL_AT_ONCE = 4;

export function createSpine({ pool, temporal: { client, searchAttributes }, taskQueue, log, metrics }: SpineDeps): Spine {
  const capacity = createCapacity({ atOnceMax: TEMPORAL_AT_ONCE, timeoutsMax: 3, probeEveryMs: 1_000 });
  const messages = createMessages({ client, searchAttributes, taskQueue });
  const notices = createNotices(pool);
  return { notices, messages, capacity, keeper: createKeeper({ notices, messages, capacity, log, metrics }),
    searchHash: searchAttributes.hash };
}
