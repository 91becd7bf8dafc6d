/**
 * What the workflows of all payments that wait for people and clocks share: open it, take steps, keep the time, say how it ended. A kind
 * differs by its table of rules. The workflow names the step; its activity decides by the rules and moves the money, so a change of a rule
 * needs no version of the workflow.
 */
import type { ActivityOptions, LocalActivityOptions } from '@temporalio/common';
import {
  allHandlersFinished, CancellationScope, condition, continueAsNew, currentUpdateInfo, isCancellation, log,
  setCurrentDetails, setHandler, sleep, workflowInfo,
} from '@temporalio/workflow';
import { SuretyError } from '../domain/errors.ts';
import type {
  ClockTask, OpenTask, PaymentFact, PaymentInput, PaymentReport, PaymentResult, PaymentView, StepRequest, StepTask,
} from '../domain/payment-messages.ts';
import { stateRefusal } from '../domain/decide.ts';
import type { AnyRules, Refusal } from '../domain/payment.ts';
import { movedSignal, openedUpdate, paymentViewQuery, stepMessages } from './contracts/payment.ts';
import { createMessageKeys, type MessageKeys } from './message-keys.ts';
import { allAnswered, failure, reasonOf } from './messages.ts';
import { detailsOf, outcomeOf, resultOf, summaryOf, timerSummary } from './payment-story.ts';
import { showInSearches } from './search-attributes.ts';

/**
 * Local: each is one quick statement, safe to repeat, and the history stays short. Given up before a workflow task would time out, because
 * a local activity that is tried again and again keeps its task open; what is not done by then is the patient one's.
 */
export const quickly: LocalActivityOptions = {
  startToCloseTimeout: '3s', scheduleToCloseTimeout: '6s', retry: { initialInterval: '100ms', maximumInterval: '1s', maximumAttempts: 4 },
};
/** Tried until it works: the database may be away for hours. A step that nobody waits for any more is refused by its own time limit. */
export const patiently: ActivityOptions = { startToCloseTimeout: '10s', retry: { initialInterval: '500ms', maximumInterval: '15s' } };

/** A longer wait is several timers. */
const TIMER_MS_MAX = 2_000_000_000;
/** The clock of the database may be behind ours; without a pause, asking it again would be a loop without end. */
const ASK_AGAIN_MS = 1_000;
const FACTS_MAX = 50;

/** The activities of any kind by name; each takes the task that is its own. */
type Performer<Options> = Readonly<Record<string, { executeWithOptions(options: Options, args: [never]): Promise<PaymentReport> }>>;
/** How activities are performed: in this very process, and patiently anywhere. */
export interface Performers {
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

/** What a run knows. One object, because handlers and main function share it. */
interface Run {
  readonly rules: AnyRules;
  readonly input: PaymentInput;
  readonly performers: Performers;
  readonly keys: MessageKeys;
  view: PaymentView | null;
  facts: readonly PaymentFact[];
  /** Why there is no payment. */
  notOpened: Refusal | null;
  lastRefusal: string | null;
  /** The latest version that a signal has named. */
  newsUpTo: number;
  /** How often the clock was asked since the payment last moved. */
  asked: number;
  /** An operator's update was answered whose answer may not have gone out yet. */
  answerWaits: boolean;
  /** The state that can be searched for: as the start has set it, or the latest upsert. */
  shownState: string;
}

/** Registers the handlers that all payments share. Call it first in a workflow. */
export function followPayment(rules: AnyRules, input: PaymentInput, performers: Performers): FollowedPayment {
  const run: Run = {
    rules, input, performers, keys: createMessageKeys({ startId: input.startId, signalsTaken: input.carried?.signals ?? {} }),
    view: input.view, facts: input.carried?.facts ?? [], shownState: input.view?.state ?? rules.opens.to,
    notOpened: null, lastRefusal: null, newsUpTo: 0, asked: 0, answerWaits: false,
  };
  const unopenedView = (): PaymentView => unopened(input.id, run.notOpened);
  setHandler(paymentViewQuery, () => ({ ...(run.view ?? unopenedView()), facts: run.facts, lastRefusal: run.lastRefusal }));
  // Temporal lets anybody with its CLI send anything; a handler that throws would leave the workflow standing for ever.
  setHandler(movedSignal, (news: unknown) => {
    const version = typeof news === 'object' && news !== null ? Number((news as { version?: unknown }).version) : Number.NaN;
    if (Number.isSafeInteger(version)) run.newsUpTo = Math.max(run.newsUpTo, version);
    else log.warn('A notice of the payment could not be read.');
  });
  setHandler(openedUpdate, () => whenOpened(run));
  return {
    takes: (step) => takeMessages(run, step),
    open: () => open(run),
    hasEnded: () => run.notOpened !== null || run.view?.ended === true,
    nextEvent: () => nextEvent(run),
    async expire() {
      run.asked += 1;
      await perform(run, 'expire', { id: input.id, known: knownBy(run) }, timerSummary(rules, run.view as PaymentView));
    },
    async result() {
      await allAnswered(run);
      return resultOf(input, run.view, run.facts, run.notOpened);
    },
  };
}

/** The version of the latest fact. */
function knownBy({ facts }: Run): number {
  return facts.at(-1)?.version ?? 0;
}

/** Applies what an activity has reported. */
function applyReport(run: Run, report: PaymentReport): PaymentReport {
  // Reports of handlers that ran side by side may come in any order, and repeat one another.
  const fresh = report.facts.filter(({ version }) => version > knownBy(run));
  if (fresh.length > 0) run.facts = [...run.facts, ...fresh].slice(-FACTS_MAX);
  const known = run.view?.version ?? 0;
  if (report.view !== null && report.view.version >= known) {
    if (report.view.version > known) run.asked = 0;
    show(run, report.view, report.sellerInSearches);
    run.view = report.view;
  }
  setCurrentDetails(detailsOf(run.input, run.view, run.facts));
  return report;
}

/** The search attributes that have changed. Those that the server does not know are left out. */
function show(run: Run, { state, ended, seller }: PaymentView, sellerInSearches = seller): void {
  showInSearches(run.input.searchAttributes, {
    ...(state === run.shownState ? {} : { PaymentState: state }), ...(ended ? { PaymentOutcome: outcomeOf(run.facts) } : {}),
    // Whom a card pays is known when it is charged; where it was known from the beginning, the start has said it.
    ...(sellerInSearches !== null && run.view?.seller === null ? { Seller: sellerInSearches } : {}),
  });
  run.shownState = state;
}

/** Has an activity done its work: at once and in this process, or, when the database is away, for as long as it takes. */
async function perform(run: Run, name: string, task: Task, summary: string): Promise<PaymentReport> {
  const [quick, patient] = [run.performers.quick[name], run.performers.patient[name]];
  if (quick === undefined || patient === undefined) throw new TypeError(`There is no activity called ${name}.`);
  try {
    return applyReport(run, await quick.executeWithOptions({ ...quickly, summary }, [task as never]));
  } catch (error) {
    if (isCancellation(error)) throw error;
    return applyReport(run, await patient.executeWithOptions({ ...patiently, summary }, [task as never]));
  }
}

async function open(run: Run): Promise<void> {
  const { input } = run;
  const { id, startId } = input;
  if (input.carried !== undefined) return;
  if (input.open === null) {
    await perform(run, 'catchUp', { id, known: 0 }, 'read what has happened so far');
    return;
  }
  const task = { id, attempt: startId, known: 0, open: input.open };
  const { view, refusal } = await perform(run, 'open', task, `hold ${input.amount} ${input.asset} of ${input.buyer}`);
  if (view !== null) return;
  run.notOpened = refusal ?? { code: 'internal_error', message: 'It was not opened.' };
  showInSearches(input.searchAttributes, { PaymentState: 'not_opened', PaymentOutcome: 'not_opened' });
}

async function whenOpened(run: Run): Promise<PaymentView> {
  await condition(() => run.view !== null || run.notOpened !== null);
  if (run.notOpened !== null) throw failure(run.notOpened);
  return run.view as PaymentView;
}

/** One step, whichever way it was asked for. */
async function take(run: Run, step: string, attempt: string, sent: unknown, request: StepRequest | null): Promise<PaymentView> {
  // The SDK keeps a stack trace of each promise: none is made here where nothing has to be waited for.
  const view = run.view ?? (await whenOpened(run));
  const { rules, input } = run;
  const task = { id: input.id, attempt, known: knownBy(run), input: sent, request };
  const { refusal } = await perform(run, step, task, summaryOf(rules, step, input, view, sent, request));
  // A refusal may have changed something all the same: the clock came first, or it was a wrong try that counts.
  if (refusal !== undefined) throw failure(refusal, run.view?.version);
  return run.view as PaymentView;
}

function takeMessages(run: Run, step: string): void {
  const { update, signal } = stepMessages(step);
  setHandler(update, async (sent, request) => {
    run.answerWaits ||= request === undefined;
    return take(run, step, currentUpdateInfo()?.id ?? '', sent, request ?? null);
  }, { validator: (sent, request) => validate(run.rules, run.view, step, sent, request) });
  setHandler(signal, async (sent) => {
    // Before anything is awaited: the same whenever the task is run again, in whichever order its activities then end.
    const attempt = run.keys.ofSignal(step);
    try {
      await take(run, step, attempt, sent, null);
      run.lastRefusal = null;
    } catch (error) {
      if (isCancellation(error)) throw error;
      run.lastRefusal = reasonOf(error);
      log.warn('A signal was refused.', { reason: run.lastRefusal });
    }
  });
}

/** Resolves to false when there is something else to do before the time is up. What leaves the time as it is, such as evidence, is not. */
async function timeIsUp(run: Run, now: PaymentView): Promise<boolean> {
  const moved = (): boolean =>
    run.view?.ended === true || run.view?.deadlineMs !== now.deadlineMs || run.newsUpTo > (run.view?.version ?? 0) || isFull(run.input);
  const deadlineMs = now.deadlineMs ?? 0;
  const waitMs = Math.max(deadlineMs - Date.now(), run.asked > 0 ? ASK_AGAIN_MS : 0);
  if (waitMs > 0) await movedOrTimeout(moved, Math.min(waitMs, TIMER_MS_MAX), timerSummary(run.rules, now));
  return !moved() && deadlineMs <= Date.now();
}

/**
 * As `condition` with a timeout, in half as many promises: the SDK keeps the stack trace of each for its queries, which was a fifth of the
 * processor time of a workflow (docs/performance.md).
 */
function movedOrTimeout(moved: () => boolean, ms: number, summary: string): Promise<void> {
  const timer = new CancellationScope();
  let isOver = false;
  timer.run(() => sleep(ms, { summary })).then(() => { isOver = true; }, () => undefined);
  return condition(() => isOver || moved()).then(() => timer.cancel());
}

async function nextEvent(run: Run): Promise<'moved' | 'deadline'> {
  for (;;) {
    const now = run.view as PaymentView;
    if (now.ended) return 'moved';
    if (run.newsUpTo > now.version) {
      const upTo = run.newsUpTo;
      await perform(run, 'catchUp', { id: now.id, known: knownBy(run) }, `read what has happened since version ${knownBy(run)}`);
      // A signal may have named a version that there is not; what was signalled meanwhile is read next.
      if (run.newsUpTo === upTo) run.newsUpTo = 0;
    } else if (isFull(run.input)) await goOnInANewRun(run);
    else if (await timeIsUp(run, now)) return 'deadline';
    if ((run.view as PaymentView).version > now.version) return 'moved';
  }
}

/** Nobody who waits for an answer is left behind: their handlers end first, and may end the payment with it. */
async function goOnInANewRun(run: Run): Promise<void> {
  await condition(allHandlersFinished);
  if (run.view === null || run.view.ended) return;
  const carried = { facts: run.facts, signals: run.keys.carriedOver().signalsTaken };
  await continueAsNew<(next: PaymentInput) => Promise<PaymentResult>>({ ...run.input, open: null, view: run.view, carried });
}

function isFull({ eventsMax }: PaymentInput): boolean {
  const { historyLength, continueAsNewSuggested } = workflowInfo();
  return eventsMax === undefined ? continueAsNewSuggested : historyLength >= eventsMax;
}

/** Refuses at once, without a trace in the history, what cannot be; not by a view that is older than what the request has seen. */
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

function unopened(id: string, refusal: Refusal | null): PaymentView {
  const state = refusal === null ? 'opening' : 'not_opened';
  return { id, version: 0, state, ended: refusal !== null, deadlineMs: null, seller: null, resolution: refusal?.code ?? null,
    returned: '0.000000' };
}
