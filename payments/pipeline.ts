/** Pipelines as the HTTP edge sees them: accepted in one statement, driven at once in this process, answered from their rows. */
import { LRUCache } from 'lru-cache';
import type { OpenCall } from '../activities/gateway/call.ts';
import type { GatewayStore } from '../activities/gateway/store.ts';
import { act, type Acted } from '../activities/pipeline/act.ts';
import type { PipelineRow } from '../activities/pipeline/rows.ts';
import type { PipelineRunner } from '../activities/pipeline/run.ts';
import type { NewPipeline, NewStep, PipelineOpened, PipelineStore } from '../activities/pipeline/store.ts';
import { isErrorCode, SuretyError, type ErrorCode } from '../domain/errors.ts';
import type { GatewayPort, Offer, Session } from '../domain/gateway.ts';
import { formatMicros } from '../domain/money.ts';
import { hasEnded, type PipelineAction } from '../domain/pipeline-rules.ts';
import { stepName, type Pipeline, type PipelinePort, type PipelineRequest } from '../domain/pipeline.ts';
import type { Crash } from '../platform/crash.ts';
import type { Logger } from '../platform/log.ts';
import type { Metrics, PipelineOutcome } from '../platform/metrics.ts';
import { newId } from '../platform/random.ts';
import { workflowIdFor } from '../workflows/contracts/ids.ts';
import { choose, noService, refusalOf, within, type SessionTermsForCall } from './gateway/calls.ts';
import type { PipelineWorkflows } from './pipeline-workflow.ts';

export interface PipelineDeps {
  readonly store: PipelineStore;
  readonly gatewayStore: GatewayStore;
  /** An agent's own session. Errors: not_found, forbidden. */
  readonly session: GatewayPort['session'];
  readonly runner: PipelineRunner;
  readonly workflows: PipelineWorkflows;
  readonly offers: (serviceType: string) => readonly Offer[];
  readonly checkEndpoint: (url: string) => Promise<unknown>;
  readonly crash: Crash;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly feeBps: number;
  /** How long a request waits for its outcome. */
  readonly answerTimeoutMs: number;
}

const POLL_MS_MIN = 10;
const POLL_MS_MAX = 250;
/** The money is where it stays before compensations are called: an answer waits for quick ones only. */
const UNDO_PATIENCE_MS = 3_000;
const OPEN_TRIES = 3;
const SESSIONS_REMEMBERED = 5_000;

export function createPipelines(deps: PipelineDeps): PipelinePort {
  const { store, runner } = deps;
  // Terms never change, so they need not be read again; whether the session is still open is decided by the statement that accepts.
  const known = new LRUCache<string, Session>({ max: SESSIONS_REMEMBERED });

  /** The session, if it is the caller's. What is left of its budget matters to one strategy only. Errors: not_found, forbidden. */
  async function ownSession(agent: string, sessionId: string): Promise<Session> {
    const remembered = known.get(sessionId);
    if (remembered?.agentAddress === agent && remembered.strategy !== 'budget') return remembered;
    const session = await deps.session(agent, sessionId);
    known.set(sessionId, session);
    return session;
  }

  /** Drives it in this process without waiting for Temporal; the workflow is started beside it. */
  async function headStart(pipeline: NewPipeline): Promise<PipelineRow | null> {
    deps.crash.at('pipeline-opened');
    void deps.workflows.begin(pipeline).then(() => deps.crash.at('pipeline-scheduled'));
    const { id, sessionId, buyer } = pipeline;
    const calls = pipeline.steps.map(({ callId, serviceType, paramsJson, candidates, refundable }): OpenCall =>
      ({ id: callId, sessionId, buyer, serviceType, paramsJson, candidates, refundable, attempt: 0, takenOver: false,
        asked: false }));
    return runner.run({ id, calls }).catch((error: unknown) => {
      deps.log.warn({ err: error, pipelineId: id }, 'A pipeline could not be driven further here; its workflow or the sweeper goes on.');
      deps.metrics.backgroundError('pipeline');
      return null;
    });
  }

  /** The pipeline when it has ended, or as it stands when the time is up. */
  async function outcome(id: string, deadlineMs: number, known: PipelineRow | null): Promise<Pipeline> {
    if (known !== null && hasEnded(known.state)) return store.read(id, known);
    let undoingSinceMs: number | null = null;
    for (let pauseMs = POLL_MS_MIN; ; pauseMs = Math.min(POLL_MS_MAX, pauseMs * 2)) {
      // Only the row while it goes on: answers of sellers may be large.
      const [row] = await store.rows([id]);
      if (row?.state === 'undoing') undoingSinceMs ??= Date.now();
      const late = Date.now() + pauseMs > deadlineMs || (undoingSinceMs !== null && Date.now() - undoingSinceMs > UNDO_PATIENCE_MS);
      if (row === undefined || hasEnded(row.state) || late) return store.read(id);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  async function buy(...[agent, tenantId, sessionId, request]: Parameters<PipelinePort['run']>): ReturnType<PipelinePort['run']> {
    const deadlineMs = Date.now() + deps.answerTimeoutMs;
    const session = await ownSession(agent, sessionId);
    // The same key in another session is another request.
    const idempotency = request.idempotency === null ? null
      : { ...request.idempotency, requestHash: `${request.idempotency.requestHash}:${sessionId}` };
    const opened = await open(deps, session, tenantId, { ...request, idempotency });
    if (typeof opened === 'string') return { pipeline: await outcome(opened, deadlineMs, null), replayed: true };
    const ended = await within(headStart(opened), deadlineMs - Date.now());
    return { pipeline: await outcome(opened.id, deadlineMs, ended), replayed: false };
  }

  return {
    async run(...wish) {
      try {
        const bought = await buy(...wish);
        deps.metrics.pipelineAnswered(bought.replayed ? 'replayed' : answeredAs(bought.pipeline));
        return bought;
      } catch (error) {
        deps.metrics.pipelineAnswered('refused');
        throw error;
      }
    },

    async act(action, by, id) {
      const { row, refusal } = await act(store, id, action, by).catch((error: unknown): never => {
        throw unwritten(action, error);
      });
      if (refusal !== null) throw refused(refusal);
      deps.workflows.soon(row.id);
      // Between two steps, nobody else might see to it for a while.
      if (action === 'cancel') void runner.resume(id, row.steps).catch((error: unknown) =>
        deps.log.warn({ err: error, pipelineId: id }, 'A cancelled pipeline could not be ended here; its workflow does.'));
      return store.read(id, row);
    },
  };
}

/** What was not done, and what becomes of the pipeline, when the database is away. */
const unwrittenSentences: Readonly<Record<PipelineAction, string>> = {
  cancel: 'The cancel could not be written, because the database does not answer at the moment: the pipeline goes on.',
  'retry-undo': 'The wish could not be written, because the database does not answer at the moment: the compensation stays given up.',
};
const unsureSentence =
  'The connection to the database ended before it was clear whether this was written: read the pipeline before you ask again.';

function unwritten(action: PipelineAction, error: unknown): unknown {
  if (!(error instanceof SuretyError) || error.code !== 'unavailable') return error;
  const isUnsure = error.extras.body?.['funds_status'] === 'unknown';
  return new SuretyError('unavailable', isUnsure ? unsureSentence : unwrittenSentences[action],
    { ...error.extras, cause: error, recovery: 'Ask again in a moment; asking twice does no harm.' });
}

/** Clients of the first system expect 403 where it is somebody else's pipeline. */
function refused({ code, message }: NonNullable<Acted['refusal']>): SuretyError {
  return new SuretyError(code, message, code === 'unauthorized' ? { status: 403, recovery: 'Use a key of the buyer.' } : {});
}

/**
 * Writes the pipeline, or finds the one that the same key has bought before: then its id. Where the budget does not allow the sellers
 * that rank first, the cheapest of each step are taken. Errors: those of `PipelinePort.run`.
 */
async function open(deps: PipelineDeps, session: Session, tenantId: string | null,
    request: PipelineRequest): Promise<NewPipeline | string> {
  const planned = await plan(deps, session, request).catch(async (error: unknown) => {
    // What was bought once stays the answer of its key, even if nobody sells it any more.
    const earlierId = error instanceof SuretyError && request.idempotency !== null
      ? await deps.store.earlier(session.agentAddress, request.idempotency) : null;
    if (earlierId === null) throw error;
    return earlierId;
  });
  if (typeof planned === 'string') return planned;
  const workflowStarted = deps.workflows.takePlace();
  const written = await write(deps, session, tenantId, request, { steps: planned, workflowStarted }).catch((error: unknown): never => {
    if (workflowStarted) deps.workflows.leavePlace();
    throw error;
  });
  if (typeof written === 'string' && workflowStarted) deps.workflows.leavePlace();
  return written;
}

type Plan = Pick<NewPipeline, 'steps' | 'workflowStarted'>;

async function write(deps: PipelineDeps, session: Session, tenantId: string | null, request: PipelineRequest,
    { steps: planned, workflowStarted }: Plan): Promise<NewPipeline | string> {
  let steps = planned;
  for (let tries = 1; ; tries += 1) {
    const pipeline = newPipeline(deps, session, tenantId, request, { steps, workflowStarted });
    const opened = await deps.store.open(pipeline).catch((error: unknown): never => {
      // Nobody knows whether the commit came through. No seller has been asked, so whatever was reserved is given back.
      if (error instanceof SuretyError && error.code === 'unavailable') void giveBack(deps, pipeline);
      throw error;
    });
    if (opened.outcome === 'accepted') return pipeline;
    if (opened.existingId !== null) return opened.existingId;
    const thrifty = steps.map(cheapestFirst);
    const fits = opened.outcome === 'budget_exceeded' && sumOf(thrifty) <= opened.remainingMicros && sumOf(thrifty) < sumOf(steps);
    if (!fits || tries >= OPEN_TRIES) throw refusal(opened, thrifty);
    steps = thrifty;
  }
}

/** While it is being undone its money is where it stays, so its answer says how it will have ended. */
function answeredAs({ state, failedStep }: Pipeline): PipelineOutcome {
  switch (state) {
    case 'running': case 'cancelling': return 'pending';
    case 'undoing': return failedStep === null ? 'cancelled' : 'failed';
    case 'completed': case 'failed': case 'cancelled': return state;
  }
}

/** Until the database answers: the caller was answered that nothing happened. */
async function giveBack({ store, gatewayStore }: PipelineDeps, { id, steps }: NewPipeline): Promise<void> {
  const errorMessage = 'The platform could not confirm this pipeline, so it was not carried out.';
  for (let tries = 0; tries < 240; tries += 1) {
    try {
      for (const { callId } of steps.slice(0, 1)) await gatewayStore.release({ id: callId, errorCode: 'unavailable',
        errorMessage, log: [] });
      await store.finish(id);
      return;
    } catch (error) {
      // It was never written.
      if (error instanceof SuretyError && error.code === 'not_found') return;
      await new Promise((resolve) => setTimeout(resolve, 250).unref());
    }
  }
}

/** More steps than a minute of the session allows would never fit, however long one waits. */
function checkPace({ maxRequestsPerMinute }: Session, { steps }: PipelineRequest): void {
  if (steps.length <= maxRequestsPerMinute) return;
  const message = `each of the ${steps.length} steps is a request, and the session's maxRequestsPerMinute is ${maxRequestsPerMinute}: `
    + 'waiting does not help';
  throw new SuretyError('validation_error', `steps: ${message}`, {
    details: [{ field: 'steps', message }], recovery: 'Buy fewer steps at once, or open a session with a larger maxRequestsPerMinute.',
  });
}

/** Sellers and prices of every step, as they stay. Errors: validation_error; no_service, which names the step; invalid_endpoint. */
async function plan(deps: PipelineDeps, session: Session, request: PipelineRequest): Promise<NewStep[]> {
  checkPace(session, request);
  const terms: SessionTermsForCall = { ...session, usedMicros: session.spentMicros + session.reservedMicros };
  const steps: NewStep[] = [];
  for (const [step, { paramsJson, compensation, ...wish }] of request.steps.entries()) {
    const refundable = wish.refundable || request.allOrNothing;
    const candidates = choose(deps, terms, { ...wish, refundable });
    if (candidates.length === 0) {
      const { code, message, extras } = await noService({ ...deps, store: deps.gatewayStore }, terms, { ...wish, refundable });
      throw new SuretyError(code, `${stepName(step, request.steps.length)}: ${message}`, { ...extras, body: { failedStep: step } });
    }
    if (compensation !== null) {
      await deps.checkEndpoint(compensation.endpoint).catch((error: unknown): never => {
        if (!(error instanceof SuretyError)) throw error;
        throw new SuretyError(error.code, `${stepName(step, request.steps.length)}, compensation: ${error.message}`,
          { ...error.extras, details: [{ field: `steps.${step}.compensation.endpoint`, message: error.message }] });
      });
    }
    steps.push({ callId: newId('call'), serviceType: wish.serviceType, paramsJson, candidates, refundable, compensation });
  }
  return steps;
}

function newPipeline({ feeBps }: PipelineDeps, session: Session, tenantId: string | null, { allOrNothing, idempotency }: PipelineRequest,
    plan: Plan): NewPipeline {
  const id = newId('pipeline');
  return { id, sessionId: session.id, buyer: session.agentAddress, tenantId, workflowId: workflowIdFor('pipeline', id), allOrNothing,
    feeBps, idempotency, ...plan };
}

function priceOf({ candidates }: NewStep): bigint {
  return BigInt(candidates[0]?.priceMicros ?? 0);
}

function sumOf(steps: readonly NewStep[]): bigint {
  return steps.reduce((sum, step) => sum + priceOf(step), 0n);
}

function cheapestFirst(step: NewStep): NewStep {
  return { ...step, candidates: step.candidates.toSorted((a, b) => Number(BigInt(a.priceMicros) - BigInt(b.priceMicros))) };
}

/** Why a pipeline was not accepted. `thrifty`: its steps with the cheapest sellers, for saying what it costs. */
function refusal({ outcome, remainingMicros }: PipelineOpened, thrifty: readonly NewStep[]): SuretyError {
  const code: ErrorCode = isErrorCode(outcome) ? outcome : 'internal_error';
  if (code !== 'budget_exceeded') return refusalOf(code);
  const price = formatMicros(sumOf(thrifty));
  const remaining = formatMicros(remainingMicros);
  return new SuretyError(code, `The steps cost ${price} together, and ${remaining} of the session's budget is left.`,
    { body: { price, currency: 'USDC', remaining } });
}
