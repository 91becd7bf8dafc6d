/**
 * What the workflows of all payments that wait for people and clocks share: open it, take steps, keep the time, say how it ended. A kind
 * differs by its table of rules. The workflow names the step; its activity decides by the rules and moves the money, so a change of a rule
 * needs no version of the workflow.
 */
import type { ActivityOptions, LocalActivityOptions } from '@temporalio/common';
import {
  allHandlersFinished, ApplicationFailure, condition, continueAsNew, currentUpdateInfo, isCancellation, log, setCurrentDetails, setHandler, sleep, upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { SuretyError } from '../domain/errors.ts';
import type { ClockTask, OpenTask, PaymentFact, PaymentInput, PaymentReport, PaymentResult, PaymentView, StepRequest, StepTask } from '../domain/payment-messages.ts';
import { stateRefusal, type AnyRules, type Refusal } from '../domain/payment.ts';
import { createMessageKeys } from './message-keys.ts';
import { movedSignal, openedUpdate, paymentViewQuery, stepMessages } from './contracts/payment.ts';
import { detailsOf, outcomeOf, resultOf, summaryOf, timerSummary } from './payment-story.ts';

/**
 * Local: each is one quick statement, safe to repeat, and the history stays short. Given up before a workflow task would time out, because a
 * local activity that is tried again and again keeps its task open; what is not done by then is the patient one's.
 */
export const quickly: LocalActivityOptions = { startToCloseTimeout: '3s', scheduleToCloseTimeout: '6s', retry: { initialInterval: '100ms', maximumInterval: '1s', maximumAttempts: 4 } };
/** Tried until it works: the database may be away for hours. A step that nobody waits for any more is refused by its own time limit. */
export const patiently: ActivityOptions = { startToCloseTimeout: '10s', retry: { initialInterval: '500ms', maximumInterval: '15s' } };

/** A longer wait is several timers. */
const TIMER_MS_MAX = 2_000_000_000;
/** The clock of the database may be behind ours; without a pause, asking it again would be a loop without end. */
const ASK_AGAIN_MS = 1_000;
/** Any timer ends the workflow task; it need not be a long one. */
const NEXT_TASK_MS = 1;
const FACTS_KEPT = 50;

/** The activities of any kind by name; each takes the task that is its own. */
type Performer<Options> = Readonly<Record<string, { executeWithOptions(options: Options, args: [never]): Promise<PaymentReport> }>>;
interface Performers {
  readonly quick: Performer<LocalActivityOptions>;
  readonly patient: Performer<ActivityOptions>;
}
type Task = OpenTask | StepTask | ClockTask;

/** A payment, as its workflow drives it. */
export interface FollowedPayment {
  /** A step that people may take: by update, or by the signal of the same name. Call it for each step before anything is awaited. */
  takes(step: string): void;
  /** Opens the payment, or finds out where the one that is there stands. */
  open(): Promise<void>;
  hasEnded(): boolean;
  /** Waits until somebody has acted, or until the time of the state is up. */
  nextEvent(): Promise<'moved' | 'deadline'>;
  /** Has done what the clock demands. */
  expire(): Promise<void>;
  /** How it ended, once everybody who asked has been answered. The last thing that a run waits for. */
  result(): Promise<PaymentResult>;
}

/** Registers the handlers that all payments share. Call it first in a workflow. */
export function followPayment(rules: AnyRules, input: PaymentInput, { quick, patient }: Performers): FollowedPayment {
  const { id, startId } = input;
  let view = input.view;
  let facts: readonly PaymentFact[] = input.carried?.facts ?? [];
  /** Why there is no payment. */
  let notOpened: Refusal | null = null;
  const keys = createMessageKeys({ startId, signalsTaken: input.carried?.signals ?? {} });
  let lastRefusal: string | null = null;
  /** The latest version that somebody has told of. */
  let newsUpTo = 0;
  /** How often the clock was asked since the payment last moved. */
  let asked = 0;
  /** An operator's update was answered whose answer may not have gone out yet. */
  let operatorWaits = false;
  const known = (): number => facts.at(-1)?.version ?? 0;

  function learn(report: PaymentReport): PaymentReport {
    // Reports of handlers that ran side by side may come in any order, and repeat one another.
    const fresh = report.facts.filter(({ version }) => version > known());
    if (fresh.length > 0) facts = [...facts, ...fresh].slice(-FACTS_KEPT);
    if (report.view !== null && report.view.version >= (view?.version ?? 0)) {
      if (report.view.version > (view?.version ?? 0)) asked = 0;
      show(report.view);
      view = report.view;
    }
    setCurrentDetails(detailsOf(input, view, facts));
    return report;
  }

  function show({ state, ended }: PaymentView): void {
    const values = { ...(state === view?.state ? {} : { PaymentState: [state] }), ...(ended ? { PaymentOutcome: [outcomeOf(facts)] } : {}) };
    const usable = Object.fromEntries(Object.entries(values).filter(([name]) => input.searchAttributes.includes(name)));
    if (Object.keys(usable).length > 0) upsertSearchAttributes(usable);
  }

  /** Has an activity done its work: at once and in this process, or, when the database is away, for as long as it takes. */
  async function perform(name: string, task: Task, summary: string): Promise<PaymentReport> {
    const [local, remote] = [quick[name], patient[name]];
    if (local === undefined || remote === undefined) throw new TypeError(`There is no activity called ${name}.`);
    try {
      return learn(await local.executeWithOptions({ ...quickly, summary }, [task as never]));
    } catch (error) {
      if (isCancellation(error)) throw error;
      return learn(await remote.executeWithOptions({ ...patiently, summary }, [task as never]));
    }
  }

  async function take(step: string, attempt: string, sent: unknown, request: StepRequest | null): Promise<PaymentView> {
    await condition(() => view !== null || notOpened !== null);
    if (notOpened !== null) throw failure(notOpened);
    const { refusal } = await perform(step, { id, attempt, known: known(), input: sent, request }, summaryOf(rules, step, input, view, sent, request));
    if (refusal !== undefined) throw failure(refusal);
    return view as PaymentView;
  }

  setHandler(paymentViewQuery, () => ({ ...(view ?? unopened(id, notOpened)), facts, lastRefusal }));
  // Temporal lets anybody with its CLI send anything; a handler that throws would leave the workflow standing for ever.
  setHandler(movedSignal, (news: unknown) => {
    const version = typeof news === 'object' && news !== null ? Number((news as { version?: unknown }).version) : Number.NaN;
    if (Number.isSafeInteger(version)) newsUpTo = Math.max(newsUpTo, version);
    else log.warn('A notice of the payment could not be read.');
  });
  setHandler(openedUpdate, async () => {
    await condition(() => view !== null || notOpened !== null);
    if (notOpened !== null) throw failure(notOpened);
    return view as PaymentView;
  });

  async function goOnInANewRun(): Promise<void> {
    await condition(allHandlersFinished);
    if (view === null || view.ended) return;
    await continueAsNew<(next: PaymentInput) => Promise<PaymentResult>>({ ...input, open: null, view, carried: { facts, signals: keys.carriedOver().signalsTaken } });
  }

  /** Resolves to false when there is something else to do before the time is up. What leaves the time as it is, such as evidence, is not. */
  async function timeIsUp(now: PaymentView): Promise<boolean> {
    const moved = (): boolean => view?.ended === true || view?.deadlineMs !== now.deadlineMs || newsUpTo > (view?.version ?? 0) || isFull(input);
    const deadlineMs = now.deadlineMs ?? 0;
    const waitMs = Math.max(deadlineMs - Date.now(), asked > 0 ? ASK_AGAIN_MS : 0);
    if (waitMs > 0 && (await condition(moved, Math.min(waitMs, TIMER_MS_MAX), { summary: timerSummary(rules, now) }))) return false;
    return !moved() && deadlineMs <= Date.now();
  }

  return {
    takes(step) {
      const { update, signal } = stepMessages(step);
      setHandler(update, async (sent, request) => {
        operatorWaits ||= request === undefined;
        return take(step, currentUpdateInfo()?.id ?? '', sent, request ?? null);
      }, { validator: (sent, request) => validate(rules, view, step, sent, request) });
      setHandler(signal, async (sent) => {
        // Before anything is awaited: the same whenever the task is run again, in whichever order its activities then end.
        const attempt = keys.ofSignal(step);
        try {
          await take(step, attempt, sent, null);
          lastRefusal = null;
        } catch (error) {
          if (isCancellation(error)) throw error;
          lastRefusal = reasonOf(error);
          log.warn('A signal was refused.', { reason: lastRefusal });
        }
      });
    },
    async open() {
      if (input.carried !== undefined) return;
      if (input.open === null) {
        await perform('catchUp', { id, known: 0 }, 'read what has happened so far');
        return;
      }
      const task = { id, attempt: startId, known: 0, open: input.open };
      const { view: opened, refusal } = await perform('open', task, `hold ${input.amount} ${input.asset} of ${input.buyer}`);
      if (opened === null) notOpened = refusal ?? { code: 'internal_error', message: 'It was not opened.' };
    },
    hasEnded: () => notOpened !== null || view?.ended === true,
    async nextEvent() {
      for (;;) {
        const now = view as PaymentView;
        if (now.ended) return 'moved';
        if (newsUpTo > now.version) {
          const upTo = newsUpTo;
          await perform('catchUp', { id, known: known() }, `read what has happened since version ${known()}`);
          // Somebody may have told of a version that there is not; what was told meanwhile is read next.
          if (newsUpTo === upTo) newsUpTo = 0;
        } else if (isFull(input)) await goOnInANewRun();
        else if (await timeIsUp(now)) return 'deadline';
        if ((view as PaymentView).version > now.version) return 'moved';
      }
    },
    async expire() {
      asked += 1;
      await perform('expire', { id, known: known() }, timerSummary(rules, view as PaymentView));
    },
    async result() {
      for (;;) {
        await condition(allHandlersFinished);
        // Temporal takes no end of a run while a message waits that the run has not seen: it fails the whole task, and an operator who waits
        // for an update that was answered in it hears of a failure. So that answer goes out in a task before the last. Requests of the
        // platform do not depend on it: they have heard of their step from its activity, or ask the row.
        if (!operatorWaits) return resultOf(input, view, facts, notOpened);
        operatorWaits = false;
        await sleep(NEXT_TASK_MS);
      }
    },
  };
}

function isFull({ eventsMax }: PaymentInput): boolean {
  const { historyLength, continueAsNewSuggested } = workflowInfo();
  return eventsMax === undefined ? continueAsNewSuggested : historyLength >= eventsMax;
}

/** Refuses at once, and without a trace in the history, what cannot be; by a view that is older than what the request has seen it does not judge. */
function validate(rules: AnyRules, view: PaymentView | null, step: string, sent: unknown, request: StepRequest | undefined): void {
  try {
    rules.read(step, sent);
  } catch (error) {
    if (error instanceof SuretyError) throw failure({ code: error.code, message: error.message });
    throw error;
  }
  if (view === null || (request !== undefined && request.seenVersion > view.version)) return;
  const refusal = stateRefusal(rules, view.state, step);
  if (refusal !== null) throw failure(refusal);
}

function failure({ code, message }: Refusal): ApplicationFailure {
  return ApplicationFailure.create({ message, type: code, nonRetryable: true });
}

function unopened(id: string, refusal: Refusal | null): PaymentView {
  return { id, version: 0, state: refusal === null ? 'opening' : 'not_opened', ended: refusal !== null, deadlineMs: null, seller: null, resolution: refusal?.code ?? null };
}

/** The sentence of the innermost cause: the outer ones only say that an activity failed. */
function reasonOf(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  return inner instanceof Error ? inner.message : String(inner);
}
