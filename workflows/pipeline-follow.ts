/** What the workflow of a pipeline knows of it, how it takes messages, and how it has its activities done. */
import type { ActivityOptions } from '@temporalio/common';
import { CancellationScope, condition, setCurrentDetails, setHandler } from '@temporalio/workflow';
import type { PipelineActivities } from '../activities/pipeline/activities.ts';
import type { PipelineInput, PipelineReport, PipelineResult, PipelineTaken, StepBought, StepReport } from '../domain/pipeline-messages.ts';
import { pipelineActions, stateRefusal, type PipelineAction } from '../domain/pipeline-rules.ts';
import type { UndoState } from '../domain/pipeline.ts';
import { movedSignal } from './contracts/payment.ts';
import { actionMessages, pipelineViewQuery, type ActInput } from './contracts/pipeline.ts';
import { allAnswered, failure, quietly } from './messages.ts';
import { utcTime } from './payment-story.ts';
import { performed, type Performers } from './performers.ts';
import { boughtLine, detailsOf, linesBefore, moneyLine, outcomeOf, resultOf, undoLine, undoneLine } from './pipeline-story.ts';
import { showInSearches } from './search-attributes.ts';

/** Those that do one thing in the database and answer with the pipeline as it is then. */
type Answering = 'settle' | 'giveBack' | 'cancel' | 'retryUndo' | 'read';

/** A pipeline, as its workflow drives it. */
export interface FollowedPipeline {
  steps(): readonly StepReport[];
  /** Are there steps to buy, or money to bring to rest? Not where a quick pipeline was over before its workflow began. */
  isBuying(): boolean;
  /** Says that the undo of a step is known before the step begins. @returns the step. */
  registersUndo(step: StepReport): number;
  /** Whether the step is still wanted. Waits for every cancel that has still to be written. @param index 0: also where it is cancelling. */
  mayBegin(index: number): Promise<boolean>;
  hasBought(step: number, bought: StepBought): StepBought;
  /** Pays what was kept. */
  settle(): Promise<void>;
  /** Gives back what is not paid. */
  giveBack(): Promise<void>;
  /** Steps whose undo is in this state, in their order. */
  undosIn(state: UndoState): readonly number[];
  /** Calls the compensation of a step once. */
  undo(step: number): Promise<'over' | 'later'>;
  /** Calls it again and again until it works or is given up. */
  undoAgain(step: number): Promise<void>;
  /** Does not wait for it; its failure is kept for `throwFault`. */
  inTheBackground(work: Promise<void>): void;
  isFaulty(): boolean;
  /** The workflow itself was cancelled. */
  isCancelled(): boolean;
  throwFault(): void;
  /** How it ended, once everybody who asked has been answered. The last thing that a run waits for. */
  result(): Promise<PipelineResult>;
}

/** A compensation takes seconds; between its tries the platform says how long to wait. */
const undoing: ActivityOptions = { startToCloseTimeout: '30s', retry: { initialInterval: '500ms', maximumInterval: '15s' } };

interface Run {
  readonly input: PipelineInput;
  readonly performers: Performers<PipelineActivities>;
  report: PipelineReport;
  readonly lines: string[];
  lastRefusal: string | null;
  /** Wishes to cancel that have still to be written. */
  stopping: number;
  /** An update was taken whose answer may not have gone out yet. */
  answerWaits: boolean;
  /** The workflow itself was cancelled. */
  isCancelled: boolean;
  fault: unknown;
}

/** Registers the handlers. Call it first in the workflow, before anything is awaited. */
export function followPipeline(input: PipelineInput, performers: Performers<PipelineActivities>): FollowedPipeline {
  const run: Run = {
    input, performers, report: input.report, lines: linesBefore(input), lastRefusal: null, stopping: 0, answerWaits: false,
    isCancelled: false, fault: undefined,
  };
  takeMessages(run);
  show(run, input.report, null);
  const undosIn = (state: UndoState): number[] => run.report.steps.filter(({ undo }) => undo?.state === state).map(({ step }) => step);
  return {
    steps: () => run.report.steps,
    isBuying: () => run.report.state === 'running' || run.report.state === 'cancelling',
    registersUndo(step) {
      addLine(run, undoLine(step));
      return step.step;
    },
    async mayBegin(index) {
      await condition(() => run.stopping === 0);
      return run.report.state === 'running' || (index === 0 && run.report.state === 'cancelling');
    },
    hasBought(step, bought) {
      addLine(run, boughtLine(step, bought, input));
      return bought;
    },
    settle: () => ending(run, 'settle', 'every step has delivered: pay what was kept until now'),
    giveBack: () => ending(run, 'giveBack', 'give back what is not paid, and see what is to be undone'),
    undosIn,
    undo: (step) => undo(run, step, 'undoStep'),
    undoAgain: async (step) => void (await undo(run, step, 'undoStepAgain')),
    inTheBackground: (work) => void work.catch((error: unknown) => (run.fault = error)),
    isCancelled: () => run.isCancelled,
    isFaulty: () => run.fault !== undefined,
    throwFault() {
      if (run.fault !== undefined) throw run.fault;
    },
    async result() {
      await allAnswered(run);
      return resultOf(run.report);
    },
  };
}

function addLine(run: Run, line: string): void {
  run.lines.push(`${utcTime(Date.now())} ${line}`);
  setCurrentDetails(detailsOf(run.input, run.report, run.lines));
}

/** Takes in where the pipeline stands; what is older than the known changes nothing. */
function show(run: Run, report: PipelineReport, known: PipelineReport | null): void {
  if (known !== null && report.version < known.version) return;
  run.report = report;
  showInSearches(run.input.searchAttributes, {
    ...(known === null || known.state === report.state ? {} : { PaymentState: report.state }),
    ...(report.ended && known?.ended !== true ? { PaymentOutcome: outcomeOf(report) } : {}),
  });
  if (report.state !== known?.state && report.money !== undefined) addLine(run, moneyLine(report, run.input));
  else setCurrentDetails(detailsOf(run.input, report, run.lines));
}

/** Has it done: at once and in this process, or, when the database is away, for as long as it takes. */
async function perform(run: Run, name: Answering, wish: ActInput, summary: string): Promise<PipelineTaken> {
  const taken = await performed(run.performers, name, summary, [{ id: run.input.id, by: wish.by }]);
  show(run, taken.report, run.report);
  return taken;
}

async function ending(run: Run, name: 'settle' | 'giveBack', summary: string): Promise<void> {
  await perform(run, name, {}, summary);
}

async function undo(run: Run, step: number, name: 'undoStep' | 'undoStepAgain'): Promise<'over' | 'later'> {
  const endpoint = run.report.steps[step]?.undo?.endpoint ?? '';
  const summary = `undo step ${step + 1}: POST ${endpoint}${name === 'undoStep' ? '' : ', until it works'}`;
  const { outcome, report } = await run.performers.patient[name].executeWithOptions({ ...undoing, summary }, [{ id: run.input.id, step }]);
  const tried = report.steps[step];
  if (tried !== undefined) addLine(run, undoneLine(tried));
  show(run, report, run.report);
  return outcome;
}

/** An action, whichever way it was asked for. A cancel counts from this moment, though it may be written much later. */
async function act(run: Run, action: PipelineAction, wish: ActInput): Promise<PipelineReport> {
  const cancels = action === 'cancel';
  if (cancels) run.stopping += 1;
  const { report, refusal } = await perform(run, cancels ? 'cancel' : 'retryUndo', wish, `${action} by ${wish.by ?? 'the platform'}`)
    .finally(() => { if (cancels) run.stopping -= 1; });
  if (refusal !== undefined) throw failure(refusal);
  addLine(run, `${action} by ${wish.by ?? 'the platform'}`);
  return report;
}

function takeMessages(run: Run): void {
  setHandler(pipelineViewQuery, () => ({ ...run.report, lastRefusal: run.lastRefusal }));
  // Sent by the platform when the row has moved without us. Temporal lets anybody send anything: it must not stop the workflow.
  setHandler(movedSignal, async (moved: unknown) => {
    const { version } = (typeof moved === 'object' && moved !== null ? moved : {}) as { readonly version?: unknown };
    if (typeof version === 'number' && version > run.report.version) await perform(run, 'read', {}, 'read what has happened meanwhile');
  });
  for (const action of pipelineActions) {
    const { update, signal } = actionMessages(action);
    setHandler(update, async (sent) => {
      run.answerWaits = true;
      return act(run, action, sent ?? {});
    }, { validator: (sent) => validate(run, action, sent) });
    setHandler(signal, (sent) => quietly(run, async () => {
      validate(run, action, sent);
      await act(run, action, sent ?? {});
    }));
  }
  // Cancelling the workflow is the wish of an operator to stop the pipeline.
  CancellationScope.current().cancelRequested.catch(() => {
    run.isCancelled = true;
    return quietly(run, () => act(run, 'cancel', {}));
  });
}

/** Refuses at once, without a trace in the history, what cannot be. */
function validate(run: Run, action: PipelineAction, sent: unknown): void {
  const { by } = (typeof sent === 'object' && sent !== null ? sent : {}) as { readonly by?: unknown };
  if (by !== undefined && typeof by !== 'string') throw failure({ code: 'validation_error', message: 'by: must be an address.' });
  const refusal = stateRefusal(run.report.state, action);
  if (refusal !== null) throw failure(refusal);
}
