/** The three things this process says to the workflow of a payment: begin, take a step, read what has happened. */
import {
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Client,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { isErrorCode } from '../domain/errors.ts';
import type { OpenRequest, PaymentInput, PaymentView, StepRequest } from '../domain/payment-messages.ts';
import { DEFAULT_ASSET, formatMicros, toUnits } from '../domain/money.ts';
import type { Payment, Refusal } from '../domain/payment.ts';
import type { SearchAttributes } from '../temporal/search-attributes.ts';
import type { TaskQueueName } from '../workflows/contracts/ids.ts';
import { movedSignal, openedUpdate, stepMessages } from '../workflows/contracts/payment.ts';
import { summaryOf, type PaymentKind } from './kind.ts';

export interface MessagesDeps {
  readonly client: Client;
  readonly searchAttributes: SearchAttributes;
  readonly taskQueue: (queue: TaskQueueName) => string;
}

/** What came of a message that asks for something. `missing`: there is no such workflow, or it has ended. `lost`: nobody can say. */
export type Answer =
  | { readonly kind: 'answered'; readonly view: PaymentView }
  /** `version`: up to which the workflow knows the payment; null where its validator has refused. */
  | { readonly kind: 'refused'; readonly refusal: Refusal; readonly version: number | null }
  | { readonly kind: 'missing' }
  | { readonly kind: 'busy' }
  | { readonly kind: 'lost'; readonly error: unknown };

/** `was there`: a workflow of this id runs, which may have been started with an older view. */
export type Began = 'eager' | 'queued' | 'was there';

/** The start of any workflow of a payment. */
export interface WorkflowStart extends Pick<PaymentKind, 'workflow' | 'queue'> {
  readonly workflowId: string;
  /** One line for Temporal's UI. */
  readonly summary: string;
  readonly about: Pick<Payment, 'heldMicros' | 'asset' | 'buyer' | 'seller' | 'tenantId'>;
  readonly state: string;
  /** @param searchAttributes those that the server knows. */
  readonly input: (searchAttributes: readonly string[]) => object;
}

/** Who starts the workflow of a payment of the engine and for what: one to be opened, or one that is there. */
export interface Start {
  readonly kind: PaymentKind;
  readonly workflowId: string;
  readonly startId: string;
  readonly about: Pick<Payment, 'id' | 'heldMicros' | 'asset' | 'buyer' | 'seller' | 'tenantId'>;
  readonly state: string;
  readonly open: OpenRequest | null;
  readonly view: PaymentView | null;
}

export interface Messages {
  /** Starts a workflow, its first task in this very process where it serves the queue. Rejects as the client does. */
  begin(start: WorkflowStart): Promise<Began>;
  /** The same for a payment of the engine. */
  start(start: Start): Promise<Began>;
  /** Resolves when the payment is open. Never rejects. */
  opened(workflowId: string): Promise<Answer>;
  /** Takes a step by an update whose id is the attempt. Never rejects. */
  step(
    workflowId: string,
    step: string,
    message: { readonly attempt: string; readonly input: unknown; readonly request: StepRequest },
  ): Promise<Answer>;
  /** Which of these workflows are running, as far as Temporal's search knows. */
  running(workflowIds: readonly string[]): Promise<ReadonlySet<string>>;
  /** Lets the workflow know that there is something to read. */
  moved(workflowId: string, version: number): Promise<'accepted' | 'missing'>;
}

/** Long after whoever asked has gone on without it; then the connection forgets it. */
const ANSWER_PATIENCE_MS = 20_000;
/** Temporal answers a start or a signal in milliseconds. */
const SEND_PATIENCE_MS = 4_000;

export function createMessages({ client, searchAttributes, taskQueue }: MessagesDeps): Messages {
  const within = <Result>(ms: number, ask: () => Promise<Result>): Promise<Result> => client.withDeadline(Date.now() + ms, ask);
  const ask = async (run: () => Promise<PaymentView>): Promise<Answer> => {
    try {
      return { kind: 'answered', view: await within(ANSWER_PATIENCE_MS, run) };
    } catch (error) {
      return answerOf(error);
    }
  };

  async function begin({ workflow, workflowId, queue, summary, about, state, input }: WorkflowStart): Promise<Began> {
    const { heldMicros, asset, buyer, seller, tenantId } = about;
    const values = {
      Buyer: buyer, Seller: seller ?? undefined, Tenant: tenantId ?? undefined, PaymentState: state,
      AmountUsd: asset === DEFAULT_ASSET ? toUnits(heldMicros).toNumber() : undefined,
    };
    try {
      const handle = await searchAttributes.starting(values, ({ typedSearchAttributes, names }) =>
        within(SEND_PATIENCE_MS, () => client.workflow.start(workflow, {
          workflowId, taskQueue: taskQueue(queue), args: [input(names)], requestEagerStart: true, staticSummary: summary,
          typedSearchAttributes,
        })));
      return handle.eagerlyStarted ? 'eager' : 'queued';
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return 'was there';
      throw error;
    }
  }

  return {
    begin,
    start({ kind, workflowId, startId, about, state, open, view }) {
      const { id, heldMicros, asset, buyer } = about;
      const input = (names: readonly string[]): PaymentInput =>
        ({ id, startId, amount: formatMicros(heldMicros), asset, buyer, open, view, searchAttributes: names });
      const { workflow, queue } = kind;
      return begin({ workflow, queue, workflowId, about, state, summary: summaryOf(kind, about), input });
    },
    opened: (workflowId) => ask(() => client.workflow.getHandle(workflowId).executeUpdate(openedUpdate)),
    step: (workflowId, step, { attempt, input, request }) =>
      ask(() =>
        client.workflow.getHandle(workflowId).executeUpdate(stepMessages(step).update, { updateId: attempt, args: [input, request] }),
      ),
    async running(workflowIds) {
      const found = new Set<string>();
      const query = `ExecutionStatus = 'Running' AND WorkflowId IN (${workflowIds.map((workflowId) => `'${workflowId}'`).join(', ')})`;
      await within(ANSWER_PATIENCE_MS, async () => {
        for await (const { workflowId } of client.workflow.list({ query })) found.add(workflowId);
      });
      return found;
    },
    async moved(workflowId, version) {
      try {
        await within(SEND_PATIENCE_MS, () => client.workflow.getHandle(workflowId).signal(movedSignal, { version }));
        return 'accepted';
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return 'missing';
        throw error;
      }
    },
  };
}

/** What an error of the client says about an update. */
function answerOf(error: unknown): Answer {
  if (error instanceof WorkflowNotFoundError) return { kind: 'missing' };
  if (error instanceof WorkflowUpdateFailedError) {
    const { cause } = error;
    if (cause instanceof ApplicationFailure && typeof cause.type === 'string' && isErrorCode(cause.type)) {
      const version: unknown = cause.details?.[0];
      return {
        kind: 'refused',
        refusal: { code: cause.type, message: cause.message },
        version: typeof version === 'number' ? version : null,
      };
    }
  }
  if (isExhausted(error)) return { kind: 'busy' };
  return { kind: 'lost', error };
}

/** Did this take longer than the one who asked was ready to wait? */
export function isTimeout(error: unknown): boolean {
  return (
    error instanceof WorkflowUpdateRPCTimeoutOrCancelledError || /DEADLINE_EXCEEDED|deadline exceeded|timed? ?out/i.test(textOf(error))
  );
}

/** gRPC codes of answers about one request: INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION, OUT_OF_RANGE. */
const ABOUT_ONE_REQUEST: readonly unknown[] = [3, 5, 6, 9, 11];

/** Whether a failure says something of one request only. Otherwise Temporal does not answer, or has too much to do. */
export function isAboutOneRequest(error: unknown): boolean {
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    if (ABOUT_ONE_REQUEST.includes((inner as { code?: unknown }).code)) return true;
  }
  return false;
}

function isExhausted(error: unknown): boolean {
  return /RESOURCE_EXHAUSTED|resource exhausted/i.test(textOf(error));
}

function textOf(error: unknown): string {
  return error instanceof Error ? `${error.message} ${textOf(error.cause)}` : '';
}
