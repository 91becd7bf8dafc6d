/**
 * Sees to it that workflows hear what was done without them, and that payments which need a workflow get one: one keeper for every family
 * of payments. Requests never wait for it: a notice in Postgres remembers what a workflow has still to hear, and whichever process comes
 * first sends it later.
 */
import type { Notice, Notices } from '../ledger/notices.ts';
import type { Logger } from '../platform/log.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Capacity } from './capacity.ts';
import { isAboutOneRequest, type Messages, type Began } from './messages.ts';

/** As much of a payment as is needed to keep its workflow informed. */
export interface Subject {
  readonly id: string;
  readonly kind: string;
  readonly version: number;
  readonly ended: boolean;
  readonly workflowId: string;
  /** A start was sent, or is about to be. */
  readonly workflowStarted: boolean;
}

/** Payments that are read and started in one way. */
export interface Family<Read extends Subject> {
  /** As the notices have them. */
  readonly kinds: readonly string[];
  /** Null: there is no such payment. Errors: unavailable. */
  read(id: string): Promise<Read | null>;
  /** A start is about to be sent. Errors: unavailable. */
  markStarted(id: string): Promise<void>;
  /** What starting its workflow from its row takes: reads what else is needed, and returns the sending. */
  starting(subject: Read): Promise<() => Promise<Began>>;
}

/** What those who change payments of a family say. */
export interface PaymentKeeper {
  /** Lets the workflow know in a moment, in which more may happen: what is over by then without a workflow needs none. */
  soon(id: string): void;
  /** Temporal has confirmed that the workflow knows this. Never rejects. */
  confirmed(id: string, version: number): void;
  /**
   * Sends a start that was prepared with the payment itself, which says that it is started. A place of the capacity was taken for it,
   * and is given back here. Never rejects: what failed stays noted.
   */
  started(subject: Pick<Subject, 'id' | 'version' | 'workflowId'>, send: () => Promise<Began>): Promise<void>;
}

export interface Keeper {
  of<Read extends Subject>(family: Family<Read>): PaymentKeeper;
  /** One round over what a crash, or an absence of Temporal, has left behind, in all families. */
  sweep(): Promise<void>;
  /** Sends now what would be sent in a moment, and waits so long at most. */
  flush(timeoutMs: number): Promise<void>;
}

export interface KeeperDeps {
  readonly notices: Notices;
  readonly messages: Pick<Messages, 'moved'>;
  readonly capacity: Capacity;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** For how long other processes leave alone what this one has claimed. */
  readonly leaseMs?: number;
}

/** A payment that begins and ends within this time costs Temporal nothing. */
const QUIET_MS = 500;
/** While Temporal has no room, or does not answer. */
const AGAIN_MS = 50;
/** More than this are left to the sweep. */
const WAITING_MAX = 2_000;
/** Whoever wrote a notice is believed to be seeing to it for so long. */
const NOTICE_AGE_MS = 3_000;
const LEASE_MS = 15_000;
const NOTICES_AT_ONCE = 50;
/** After a round in which nothing came through: enough to find out whether something does now. */
const NOTICES_WHILE_FAILING = 8;
const FORGET_MAX = 256;
/** The pause between rounds doubles between these while Temporal does not answer. */
const PAUSE_MS_MIN = 2_000;
const PAUSE_MS_MAX = 30_000;

/** `failed`: this one only. `unreachable`: Temporal does not answer, and the next would fare no better. */
type Came = 'informed' | 'failed' | 'unreachable' | 'no room';

class Unreachable extends Error {}

/** Things under way that a stopping process waits for. */
function createPending() {
  const pending = new Set<Promise<unknown>>();
  return {
    add(promise: Promise<unknown>): void {
      const settled = promise.then(() => undefined, () => undefined).finally(() => pending.delete(settled));
      pending.add(settled);
    },
    all: () => Promise.all(pending),
  };
}

/** What Temporal has confirmed, gathered for a moment: a payment that goes on in it is forgotten once, and many share a statement. */
function createConfirmations(forget: (all: Pick<Notice, 'id' | 'version'>[]) => void) {
  const known = new Map<string, number>();
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (known.size > 0) forget([...known].map(([id, version]) => ({ id, version })));
    known.clear();
  };
  return {
    flush,
    add(id: string, version: number): void {
      known.set(id, Math.max(version, known.get(id) ?? 0));
      if (known.size >= FORGET_MAX) flush();
      else timer ??= setTimeout(flush, QUIET_MS).unref();
    },
  };
}

/** How long rounds pause while Temporal does not answer. */
function createPause() {
  let ms = 0;
  let untilMs = 0;
  return {
    isOver: () => Date.now() >= untilMs,
    isFailing: () => ms > 0,
    end(): void {
      ms = 0;
      untilMs = 0;
    },
    longer(): void {
      ms = Math.min(PAUSE_MS_MAX, Math.max(PAUSE_MS_MIN, ms * 2));
      untilMs = Date.now() + ms;
    },
  };
}
type Pause = ReturnType<typeof createPause>;

/** Informs the workflow of one payment, or gives it one, in a place among what Temporal is asked at once. */
function createInformer({ notices, messages, capacity, log, metrics }: KeeperDeps, pause: Pause) {
  /** Asks Temporal, and notes whether it answers at all. */
  async function temporal<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    const answered = (): void => {
      capacity.answered();
      pause.end();
    };
    try {
      const answer = await ask();
      answered();
      return answer;
    } catch (error) {
      if (isAboutOneRequest(error)) {
        answered();
        throw error;
      }
      capacity.timedOut();
      throw new Unreachable('Temporal does not answer.', { cause: error });
    }
  }

  /** Sends a start; one that was there may know less than this. */
  async function start({ workflowId, version }: Pick<Subject, 'version' | 'workflowId'>, send: () => Promise<Began>): Promise<void> {
    if ((await temporal(send)) === 'was there') await temporal(() => messages.moved(workflowId, version));
  }

  async function inform<Read extends Subject>(family: Family<Read>, id: string): Promise<void> {
    const subject = await family.read(id);
    if (subject === null) return;
    const { ended, workflowId, workflowStarted, version } = subject;
    // Over, and nothing was ever promised to Temporal.
    if (!workflowStarted && ended) return;
    const isMissing = !workflowStarted || (await temporal(() => messages.moved(workflowId, version))) === 'missing';
    // Where it has ended, a start that comes through late reads the row and finds the end.
    if (isMissing && !ended) {
      const send = await family.starting(subject);
      // Before it is sent: a start whose answer is lost may have come through.
      if (!workflowStarted) await family.markStarted(id);
      await start(subject, send);
    }
    await notices.forget([{ id, version }]);
  }

  function failed(error: unknown, id: string): void {
    log.warn({ err: error, paymentId: id }, 'The workflow of a payment could not be informed; the sweep tries again.');
    metrics.backgroundError('payment-keeper');
  }

  /** In a place that was taken; gives it back. Never rejects: what failed stays noted in Postgres. */
  async function inPlace(id: string, work: () => Promise<void>): Promise<Came> {
    try {
      await work();
      return 'informed';
    } catch (error) {
      failed(error, id);
      return error instanceof Unreachable ? 'unreachable' : 'failed';
    } finally {
      capacity.release();
    }
  }

  return {
    failed, start, inPlace,
    /** Informs it if there is room. Never rejects. */
    ifRoom: async (family: Family<Subject>, id: string): Promise<Came> =>
      capacity.take() ? inPlace(id, () => inform(family, id)) : 'no room',
  };
}
type Informer = ReturnType<typeof createInformer>;

export function createKeeper(deps: KeeperDeps): Keeper {
  const { notices, capacity } = deps;
  const pause = createPause();
  const informer = createInformer(deps, pause);
  const families: Family<Subject>[] = [];
  const waiting = new Map<string, { readonly family: Family<Subject>; readonly timer: NodeJS.Timeout }>();
  const pending = createPending();
  const confirmations = createConfirmations((all) => {
    pending.add(notices.forget(all).catch((error: unknown) => informer.failed(error, all[0]?.id ?? '')));
  });

  function wait(family: Family<Subject>, id: string, ms: number): void {
    const timer = setTimeout(() => {
      waiting.delete(id);
      const informed = informer.ifRoom(family, id);
      pending.add(informed);
      void informed.then((came) => {
        if (came === 'no room' && !capacity.isOpen() && !waiting.has(id)) wait(family, id, AGAIN_MS);
      });
    }, ms).unref();
    waiting.set(id, { family, timer });
  }

  return {
    of(own) {
      // What a family reads is what it is asked to start: nobody else makes subjects of it.
      const family = own as Family<Subject>;
      families.push(family);
      return {
        confirmed: confirmations.add,
        soon(id) {
          if (!waiting.has(id) && waiting.size < WAITING_MAX) wait(family, id, QUIET_MS);
        },
        async started(subject, send) {
          const sent = informer.inPlace(subject.id, async () => {
            await informer.start(subject, send);
            confirmations.add(subject.id, subject.version);
          });
          pending.add(sent);
          await sent;
        },
      };
    },
    sweep: createSweep(deps, { informer, pause, families }),
    async flush(timeoutMs) {
      for (const [id, { family, timer }] of waiting) {
        clearTimeout(timer);
        waiting.delete(id);
        pending.add(informer.ifRoom(family, id));
      }
      confirmations.flush();
      await Promise.race([pending.all(), new Promise((resolve) => setTimeout(resolve, timeoutMs).unref())]);
    },
  };
}

/** Rounds over notices that nobody has seen to. While Temporal does not answer, the pauses between them double. */
function createSweep({ notices, capacity, leaseMs = LEASE_MS }: KeeperDeps,
    { informer, pause, families }: { informer: Informer; pause: Pause; families: readonly Family<Subject>[] }): () => Promise<void> {
  return async () => {
    if (!pause.isOver()) return;
    const limit = pause.isFailing() ? NOTICES_WHILE_FAILING : NOTICES_AT_ONCE;
    const claimed = await notices.claim(families.flatMap(({ kinds }) => kinds), { ageMs: NOTICE_AGE_MS, leaseMs, limit });
    const outcomes = new Set<Came>();
    for (const { id, kind } of claimed) {
      const family = families.find(({ kinds }) => kinds.includes(kind));
      // One after the other: requests go first, and a Temporal that is slow is not asked by fifty at once.
      if (family !== undefined) outcomes.add(await informer.ifRoom(family, id));
      if (capacity.isOpen()) break;
    }
    if (!outcomes.has('informed') && (outcomes.has('unreachable') || capacity.isOpen())) pause.longer();
  };
}
