/**
 * Gives each kept payment (multistep escrow, pipeline) its workflow, and tells the workflow where the row stands. The row is the truth and
 * never waits for Temporal: a notice in Postgres remembers what a workflow has still to hear, and the sweeper tells it later.
 */
import { randomUUID } from 'node:crypto';
import { WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError, type Client } from '@temporalio/client';
import type pg from 'pg';
import { createGroupCommit } from '../ledger/group-commit.ts';
import type { Logger } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';
import { createTokenBucket } from '../platform/token-bucket.ts';
import type { SearchAttributes } from '../temporal/search-attributes.ts';
import { taskQueues, workflowIdFor, type TaskQueueName, type WorkflowKind } from '../workflows/contracts/ids.ts';
import { movedSignal, type KeptPaymentInput, type PaymentView } from '../workflows/contracts/kept-payment.ts';
import type { Job } from './jobs.ts';
import { createNotices, toldOf, type Told } from './notices.ts';

/** A row, as much of it as its workflow and the people who look at Temporal need. */
export interface KeptRow {
  readonly id: string;
  readonly view: PaymentView;
  /** One line for Temporal's UI. */
  readonly summary: string;
  readonly buyer: string;
  /** Null where there are several. */
  readonly seller: string | null;
  readonly tenantId: string | null;
  /** Whole units, for searching only. */
  readonly amountUsd: number;
  /** What else the workflow is started with; never changes. */
  readonly input?: object;
}

export interface KeptKind {
  readonly queue: TaskQueueName;
  /** Also the name of the workflow function. */
  readonly workflow: WorkflowKind;
  /** Rows by id; those that do not exist are left out. */
  readonly read: (ids: readonly string[]) => Promise<readonly KeptRow[]>;
}

export interface KindKeeper {
  /**
   * Starts the workflow of a row that was just written: at once while it is quiet, and resolves when it runs; under load within a
   * moment in which further changes overtake this one, and resolves at once, unless so much is untold that the caller should wait for
   * Temporal. Waited for in neither case longer than a moment, and never rejects: without Temporal the sweeper starts it later.
   */
  begin(row: KeptRow): Promise<void>;
  /** Tells the workflow soon: at once when the payment has ended, else after the same moment. */
  moved(row: KeptRow): void;
  /** Tells what a crash, or an absence of Temporal, has left untold. */
  readonly job: Job;
}

export interface Keeper {
  of(kind: KeptKind): KindKeeper;
  /** Tells now what would be told in a moment. */
  flush(timeoutMs: number): Promise<void>;
}

export interface KeeperDeps {
  readonly client: Client;
  readonly searchAttributes: SearchAttributes;
  readonly pool: pg.Pool;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly queueSuffix: string;
}

/** An escrow that is delivered and confirmed at once then costs Temporal one start, and not a start and two messages. */
const QUIET_MS = 150;
/** Workflows that may start at once, above which they wait for that moment: a burst, and so many a second. */
const AT_ONCE_BURST = 8;
const AT_ONCE_PER_SEC = 4;
/** Payments whose workflow has still to hear of them; with more, those who make new ones wait for Temporal. */
const UNTOLD_MAX = 64;
/** Temporal answers in milliseconds; what takes longer than this is tried again later. */
const TEMPORAL_PATIENCE_MS = 4_000;
/** A request whose money has moved goes on without Temporal after this. */
const START_PATIENCE_MS = 1_000;
const SWEEP_EVERY_MS = 2_000;
const FORGET_MAX = 256;

/** What is to be told in a moment. */
interface Waiting {
  readonly kind: KeptKind;
  /** The newest that is known. */
  row: KeptRow;
  /** The workflow has been started before. */
  readonly begun: boolean;
  readonly told: Promise<void>;
  readonly done: () => void;
  readonly timer: NodeJS.Timeout;
}

/** The row as its workflow now knows it; null: there is no workflow, and none is needed, because the payment has ended. */
type Heard = KeptRow | null;
type Telling = (kind: KeptKind, row: KeptRow) => Promise<Heard>;

/** The two ways in which a workflow hears of its payment. */
function createMessages(deps: KeeperDeps): { readonly start: Telling; readonly signal: Telling } {
  const inTime = <Result>(ask: () => Promise<Result>): Promise<Result> => deps.client.withDeadline(Date.now() + TEMPORAL_PATIENCE_MS, ask);

  async function start(kind: KeptKind, row: KeptRow): Promise<Heard> {
    const { queue, workflow } = kind;
    const searchable = {
      Buyer: row.buyer, Seller: row.seller ?? undefined, Tenant: row.tenantId ?? undefined, PaymentState: row.view.state,
      AmountUsd: row.amountUsd,
    };
    try {
      await deps.searchAttributes.starting(searchable, ({ typedSearchAttributes, names }) => {
        const input: KeptPaymentInput = { ...row.input, id: row.id, view: row.view, searchAttributes: names, startId: randomUUID() };
        return inTime(() => deps.client.workflow.start(workflow, {
          workflowId: workflowIdFor(workflow, row.id), taskQueue: taskQueues[queue] + deps.queueSuffix, args: [input],
          requestEagerStart: true, staticSummary: row.summary, typedSearchAttributes,
        }));
      });
    } catch (error) {
      // A start that seemed to have failed has come through after all, perhaps with an older view than ours.
      if (error instanceof WorkflowExecutionAlreadyStartedError) return signal(kind, row);
      throw error;
    }
    return row;
  }

  async function signal(kind: KeptKind, row: KeptRow): Promise<Heard> {
    try {
      const handle = deps.client.workflow.getHandle(workflowIdFor(kind.workflow, row.id));
      await inTime(() => handle.signal(movedSignal, row.view));
      return row;
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      // It has ended with the payment, or it was lost. A lost one is only needed while something is still to happen; whether that
      // is so the row says now: an operator's update may have ended the payment since this message was written.
      const [now] = row.view.ended ? [] : await kind.read([row.id]);
      return now === undefined || now.view.ended ? null : start(kind, now);
    }
  }

  return { start, signal };
}

/** As long as a request should wait for Temporal, and no longer. */
function patiently(told: Promise<void>): Promise<void> {
  return Promise.race([told, new Promise<void>((resolve) => setTimeout(resolve, START_PATIENCE_MS).unref())]);
}

/** Forgets notices whose workflow knows that version, many in one statement. */
function createForget({ pool }: KeeperDeps): (notice: { id: string; version: number }) => Promise<void> {
  return createGroupCommit<{ id: string; version: number }, void>({
    itemsMax: FORGET_MAX, lanes: 1, isItemError: () => false,
    run: async (items) => {
      const values = [items.map(({ id }) => id), items.map(({ version }) => version)];
      await pool.query({ name: 'kept-workflow-told', text: 'SELECT workflow_told($1, $2)', values });
      return items.map(() => undefined);
    },
  });
}

/** Tells workflows, now or in a moment, and knows what is still to be told. */
function createTeller(deps: KeeperDeps) {
  const { start, signal } = createMessages(deps);
  const forget = createForget(deps);
  const waiting = new Map<string, Waiting>();
  const telling = new Set<Promise<unknown>>();
  const notices = createNotices({ pool: deps.pool, log: deps.log, tell: (kind, row) => tell(signal, kind, row, true) });

  /**
   * Never rejects: the notice stays until somebody has succeeded. It also stays when there was no workflow to tell of
   * an end, unless `absentIsTold`: another process may be about to start it with what it knew before.
   */
  function tell(how: Telling, kind: KeptKind, row: KeptRow, absentIsTold = false): Promise<Told> {
    const told: Promise<Told> = how(kind, row).then(async (heard): Promise<Told> => {
      notices.answered();
      const known = heard ?? (absentIsTold ? row : null);
      if (known !== null) await forget({ id: known.id, version: known.view.version });
      return 'told';
    }).catch((error: unknown): Told => {
      deps.log.warn({ err: error, paymentId: row.id }, 'A workflow could not be told of its payment; the sweeper tries again.');
      deps.metrics.backgroundError('keeper');
      return toldOf(error);
    }).finally(() => telling.delete(told));
    telling.add(told);
    return told;
  }

  /** The row as it is now, where somebody else may have changed it since: a workflow that starts with an old view would wait in vain. */
  const startNow: Telling = async (kind, row) => start(kind, row.view.ended ? row : ((await kind.read([row.id]))[0] ?? row));

  function tellNow(id: string): void {
    const entry = waiting.get(id);
    if (entry === undefined) return;
    waiting.delete(id);
    clearTimeout(entry.timer);
    void tell(entry.begun ? signal : startNow, entry.kind, entry.row).then(entry.done);
  }

  function waitFor(kind: KeptKind, row: KeptRow, begun: boolean): Promise<void> {
    let done = (): void => undefined;
    const told = new Promise<void>((resolve) => (done = resolve));
    waiting.set(row.id, { kind, row, begun, told, done, timer: setTimeout(() => tellNow(row.id), QUIET_MS) });
    return told;
  }

  /** Remembers what is to be told, and tells it when nothing has followed for a moment, or when nothing can follow. */
  function soon(kind: KeptKind, row: KeptRow, begun: boolean): Promise<void> {
    const known = waiting.get(row.id);
    if (known !== undefined && known.row.view.version < row.view.version) known.row = row;
    const told = known?.told ?? waitFor(kind, row, begun);
    if (row.view.ended) tellNow(row.id);
    return told;
  }

  return {
    soon, sweep: notices.sweep,
    startAtOnce: async (kind: KeptKind, row: KeptRow) => void (await tell(start, kind, row)),
    untold: () => waiting.size + telling.size,
    async flush(timeoutMs: number) {
      for (const id of [...waiting.keys()]) tellNow(id);
      await Promise.race([Promise.all(telling), new Promise((resolve) => setTimeout(resolve, timeoutMs).unref())]);
    },
  };
}

/** The keeper of this process, for all shapes of kept payments. */
export function createKeeper(deps: KeeperDeps): Keeper {
  const teller = createTeller(deps);
  const quiet = createTokenBucket({ burst: AT_ONCE_BURST, perSec: AT_ONCE_PER_SEC });

  async function beginSoon(kind: KeptKind, row: KeptRow): Promise<void> {
    const told = teller.soon(kind, row, false);
    if (teller.untold() > UNTOLD_MAX) await told;
  }

  return {
    of: (kind) => ({
      begin: (row) => patiently(quiet() ? teller.startAtOnce(kind, row) : beginSoon(kind, row)),
      moved: (row) => void teller.soon(kind, row, true),
      job: { name: `notices-${kind.queue}`, everyMs: SWEEP_EVERY_MS, run: () => teller.sweep(kind) },
    }),
    flush: teller.flush,
  };
}
