/** What the workflow of a long call knows of it, how it takes messages, and how it has its activities done. */
import type { ActivityOptions } from '@temporalio/common';
import { allHandlersFinished, CancellationScope, condition, continueAsNew, setCurrentDetails, setHandler, workflowInfo }
  from '@temporalio/workflow';
import type { LongCallActivities } from '../activities/long-call/activities.ts';
import { SuretyError } from '../domain/errors.ts';
import { longCallStateRefusal, longCallSteps, type LongCallInput, type LongCallStep } from '../domain/long-call.ts';
import { readLongCallInput } from '../domain/long-call-input.ts';
import type { GatewayCallInput, GatewayCallResult, LongCallReport, LongCallView } from '../domain/long-call-messages.ts';
import { longCallMessages, longCallViewQuery } from './contracts/gateway-call.ts';
import { movedSignal } from './contracts/payment.ts';
import { callDetailsOf, callLine, callOutcomeOf, callResultOf } from './gateway-call-story.ts';
import { allAnswered, failure, quietly } from './messages.ts';
import { performed, type Performers } from './performers.ts';
import { utcTime } from './payment-story.ts';
import { showInSearches } from './search-attributes.ts';

/** Those that do one thing in the database. */
type Quick = 'readCall' | 'takeStep' | 'giveBackOverdue';

/** A long call, as its workflow drives it. */
export interface FollowedLongCall {
  /** Finds the call where it stands: accepted, or further where its workflow was lost. */
  findAccepted(): Promise<void>;
  /** Says that the money goes back at the time of the seller. @returns what does that, if it is time by the clock of the database. */
  registersGiveBack(): () => Promise<void>;
  /** Asks sellers in their order until one works on it; one whose answer was lost only if it works once for one key. */
  askSellers(): Promise<void>;
  hasEnded(): boolean;
  /** Waits until something has happened, or until the time of the seller is up. */
  nextEvent(): Promise<'moved' | 'deadline'>;
  /** How it ended, once everybody who asked has been answered. The last thing that a run waits for. */
  result(): Promise<GatewayCallResult>;
}

/** A seller answers within SELLER_TIMEOUT, and up to three of them are asked. */
const asking: ActivityOptions = { startToCloseTimeout: '10m', heartbeatTimeout: '10s',
  retry: { initialInterval: '500ms', maximumInterval: '10s' } };
/** Between two tries at a seller whose answer was lost. */
const AGAIN_MS_MIN = 1_000;
const AGAIN_MS_MAX = 60_000;
/** The clock of the database may be behind ours; without a pause, asking it again would be a loop without end. */
const CLOCK_AGAIN_MS = 1_000;
const LINES_MAX = 50;

interface Run {
  readonly input: GatewayCallInput;
  readonly performers: Performers<LongCallActivities>;
  view: LongCallView;
  /** The version of the latest fact. */
  known: number;
  lines: readonly string[];
  /** The latest version that a signal has named. */
  newsUpTo: number;
  lastRefusal: string | null;
  /** An update was taken whose answer may not have gone out yet. */
  answerWaits: boolean;
  /** How often the clock was asked in vain. */
  asked: number;
  /** An activity is doing something in the database. */
  isBusy: boolean;
}

/** Registers the handlers. Call it first in the workflow, before anything is awaited. */
export function followLongCall(input: GatewayCallInput, performers: Performers<LongCallActivities>): FollowedLongCall {
  const run: Run = { input, performers, view: input.view, known: input.lines === undefined ? 0 : input.view.version,
    lines: input.lines ?? [], newsUpTo: 0, lastRefusal: null, answerWaits: false, asked: 0,
    isBusy: false };
  takeMessages(run);
  setCurrentDetails(callDetailsOf(input, run.view, run.lines));
  return {
    findAccepted: async () => void (await perform(run, 'readCall', 'read where the call stands')),
    registersGiveBack() {
      // The run before has said it.
      const until = utcTime(run.view.deadlineMs);
      if (input.lines === undefined) addLine(run, `at the time of the seller, ${until} at the latest, the money goes back`);
      return async () => {
        run.asked += 1;
        await perform(run, 'giveBackOverdue', `the time of ${run.view.service} is up: give ${run.view.price} ${input.asset} back`);
      };
    },
    askSellers: () => askSellers(run),
    hasEnded: () => run.view.ended,
    nextEvent: () => nextEvent(run),
    async result() {
      await allAnswered(run);
      return callResultOf(run.view);
    },
  };
}

function addLine(run: Run, line: string): void {
  run.lines = [...run.lines, line].slice(-LINES_MAX);
  setCurrentDetails(callDetailsOf(run.input, run.view, run.lines));
}

/** Takes in what an activity has reported. Reports of handlers that ran side by side may come in any order, and repeat one another. */
function apply(run: Run, { view, facts, sellerInSearches = view.seller }: LongCallReport): void {
  const fresh = facts.filter(({ version }) => version > run.known);
  const before = run.view;
  if (view.version >= before.version) {
    if (view.deadlineMs !== before.deadlineMs) run.asked = 0;
    run.view = view;
    showInSearches(run.input.searchAttributes, {
      ...(view.state === before.state ? {} : { PaymentState: view.state }),
      ...(view.seller === before.seller ? {} : { Seller: sellerInSearches }),
      ...(view.ended && !before.ended ? { PaymentOutcome: callOutcomeOf(view) } : {}),
    });
  }
  run.known = fresh.at(-1)?.version ?? run.known;
  run.lines = [...run.lines, ...fresh.map((fact) => callLine(fact, run.input.asset, run.view))].slice(-LINES_MAX);
  setCurrentDetails(callDetailsOf(run.input, run.view, run.lines));
}

/**
 * Has it done: at once and in this process, or, when the database is away, for as long as it takes. One after the other: steps are taken in
 * the order in which their messages came, and what is lived side by side could be replayed in another order.
 */
async function perform<Name extends Quick>(run: Run, name: Name, summary: string,
    more?: Omit<Parameters<LongCallActivities['takeStep']>[0], 'id' | 'known'>): Promise<Awaited<ReturnType<LongCallActivities[Name]>>> {
  // Handlers run in the scope of the workflow, which may be cancelled by then.
  return CancellationScope.nonCancellable(async (): Promise<Awaited<ReturnType<LongCallActivities[Name]>>> => {
    while (run.isBusy) await condition(() => !run.isBusy);
    run.isBusy = true;
    const args = [{ id: run.input.id, known: run.known, ...more }] as Parameters<LongCallActivities[Name]>;
    try {
      const report = await performed(run.performers, name, summary, args);
      apply(run, report);
      return report as Awaited<ReturnType<LongCallActivities[Name]>>;
    } finally {
      run.isBusy = false;
    }
  });
}

async function askSellers(run: Run): Promise<void> {
  for (let pauseMs = AGAIN_MS_MIN; run.view.state === 'asking'; pauseMs = Math.min(AGAIN_MS_MAX, pauseMs * 2)) {
    const { service, seller, price } = run.view;
    const summary = `ask ${service} (${seller}) for ${price} ${run.input.asset}`;
    const { outcome, ...report } = await run.performers.patient.askSeller.executeWithOptions({ ...asking, summary },
      [{ id: run.input.id, known: run.known }]);
    apply(run, report);
    if (outcome !== 'again') return;
    await condition(() => run.view.state !== 'asking' || run.newsUpTo > run.known, Math.min(pauseMs, leftMs(run)));
    if (run.newsUpTo > run.known) await catchUp(run);
    if (leftMs(run) <= 0) return;
  }
}

function leftMs({ view }: Run): number {
  return Math.max(0, view.deadlineMs - Date.now());
}

async function catchUp(run: Run): Promise<void> {
  const upTo = run.newsUpTo;
  await perform(run, 'readCall', `read what has happened since version ${run.known}`);
  // A signal may have named a version that there is not; what was signalled meanwhile is read next.
  if (run.newsUpTo === upTo) run.newsUpTo = 0;
}

async function nextEvent(run: Run): Promise<'moved' | 'deadline'> {
  if (run.newsUpTo > run.known) {
    await catchUp(run);
    return 'moved';
  }
  if (isFull(run.input)) await goOnInANewRun(run);
  const { version, deadlineMs } = run.view;
  const moved = (): boolean => run.view.version > version || run.newsUpTo > run.known || isFull(run.input);
  const waitMs = Math.max(deadlineMs - Date.now(), run.asked > 0 ? CLOCK_AGAIN_MS : 0);
  if (waitMs > 0 && (await condition(moved, waitMs))) return 'moved';
  return 'deadline';
}

/** A seller that says much of its progress makes a long history. Nobody who waits for an answer is left behind. */
async function goOnInANewRun(run: Run): Promise<void> {
  await condition(allHandlersFinished);
  if (run.view.ended) return;
  await continueAsNew<(next: GatewayCallInput) => Promise<GatewayCallResult>>({ ...run.input, view: run.view, lines: run.lines });
}

function isFull({ eventsMax }: GatewayCallInput): boolean {
  const { historyLength, continueAsNewSuggested } = workflowInfo();
  return eventsMax === undefined ? continueAsNewSuggested : historyLength >= eventsMax;
}

function takeMessages(run: Run): void {
  setHandler(longCallViewQuery, () => ({ ...run.view, lastRefusal: run.lastRefusal }));
  // Sent by the platform when the call has moved without us. Temporal lets anybody send anything: it must not stop the workflow.
  setHandler(movedSignal, (news: unknown) => {
    const version = typeof news === 'object' && news !== null ? Number((news as { version?: unknown }).version) : Number.NaN;
    if (Number.isSafeInteger(version)) run.newsUpTo = Math.max(run.newsUpTo, version);
  });
  for (const step of longCallSteps) {
    const { update, signal } = longCallMessages(step);
    setHandler(update, async (sent) => {
      run.answerWaits = true;
      return take(run, read(run, step, sent), sent);
    }, { validator: (sent) => void read(run, step, sent) });
    setHandler(signal, (sent) => quietly(run, () => take(run, read(run, step, sent), sent)));
  }
  CancellationScope.current().cancelRequested.catch(() => quietly(run, () => take(run, read(run, 'cancel', {}), {})));
}

/** Refuses at once, without a trace in the history, what cannot be. */
function read(run: Run, step: LongCallStep, sent: unknown): LongCallInput {
  // What was completed may be completed again: whether with the same answer, the books say.
  const refusal = step === 'complete' ? null : longCallStateRefusal(run.view.state, step);
  if (refusal !== null) throw failure(refusal);
  const by = byOf(sent);
  if (by !== undefined && typeof by !== 'string') throw failure({ code: 'validation_error', message: 'by: must be an address.' });
  try {
    return readLongCallInput(step, sent);
  } catch (error) {
    if (error instanceof SuretyError) throw failure({ code: error.code, message: error.message });
    throw error;
  }
}

function byOf(sent: unknown): unknown {
  return typeof sent === 'object' && sent !== null ? (sent as { readonly by?: unknown }).by : undefined;
}

async function take(run: Run, input: LongCallInput, sent: unknown): Promise<LongCallView> {
  const by = byOf(sent) as string | undefined;
  const who = by === undefined ? {} : { by };
  const { refusal } = await perform(run, 'takeStep', `${input.step} by ${by ?? 'an operator'}`, { input, ...who });
  if (refusal !== undefined) throw failure(refusal);
  return run.view;
}
