/** What every workflow of a kept payment does: know where the row stands, keep its time, and take messages from people. */
import type { SignalDefinition, UpdateDefinition } from '@temporalio/common';
import { allHandlersFinished, ApplicationFailure, condition, log, setHandler, sleep } from '@temporalio/workflow';
import { movedSignal, paymentViewQuery, type KeptPaymentInput, type PaymentView } from './contracts/kept-payment.ts';
import { createMessageKeys } from './message-keys.ts';
import { showInSearches } from './search-attributes.ts';

/** A step, as an update that answers and as the signal of the same name. */
export interface StepMessages<Input> {
  readonly update: UpdateDefinition<PaymentView, [Input]>;
  readonly signal: SignalDefinition<[Input]>;
}

/** The row, as its workflow knows it. */
export interface KeptPayment {
  view(): PaymentView;
  /** Takes in a newer view; an older one changes nothing. */
  learn(view: PaymentView): void;
  /** Resolves when the payment has ended (true), or when its deadline has come and somebody must look (false). */
  endedOrDue(): Promise<boolean>;
  /**
   * A step that people may take, by update or by the signal of the same name. The CLI sends no input when none is given.
   * @param take is given the idempotency key of the message, for its activity.
   */
  takes<Input>(step: StepMessages<Input>, take: (input: Input | undefined, key: string) => Promise<PaymentView>): void;
  /** What a run that goes on in a new one hands over. */
  carriedOver(): Pick<KeptPaymentInput, 'view' | 'startId' | 'signalsTaken'>;
  /** Resolves when everybody who asked has been answered. The last thing that a run waits for. */
  answered(): Promise<void>;
}

/** `setTimeout` takes no more than this; a longer wait is several. */
const TIMER_MS_MAX = 2_000_000_000;
const LOOK_AGAIN_MS = 1_000;
/** Any timer ends the workflow task; it need not be a long one. */
const NEXT_TASK_MS = 1;

/** What of a workflow's input concerns its messages and its search attributes. */
type KeepOptions = Pick<KeptPaymentInput, 'searchAttributes' | 'startId' | 'signalsTaken'>;

/** Registers the handlers that all kept payments share. Call it first in a workflow, before anything is awaited. */
export function keepPayment(first: PaymentView, options: KeepOptions): KeptPayment {
  const keys = createMessageKeys(options);
  let view = first;
  let lastRefusal: string | null = null;
  /** Since the payment last moved. */
  let looks = 0;
  /** An update was taken whose answer may not have gone out yet. */
  let somebodyWaited = false;

  const learn = (newer: PaymentView): void => {
    if (newer.version < view.version) return;
    if (newer.state !== view.state) showInSearches(options.searchAttributes, { PaymentState: newer.state });
    // The same version may come with a later deadline: the ticks of a stream move it without a message each.
    if (newer.version > view.version || newer.deadlineMs !== view.deadlineMs) looks = 0;
    view = newer;
  };

  setHandler(paymentViewQuery, () => ({ ...view, lastRefusal }));
  setHandler(movedSignal, (newer: unknown) => {
    // Temporal lets anybody with its CLI send anything; a handler that throws would leave the workflow standing for ever.
    if (isView(newer)) learn(newer);
    else log.warn('A notice of the payment could not be read.');
  });

  return {
    view: () => view,
    learn,
    async endedOrDue() {
      for (;;) {
        if (view.ended) return true;
        const known = view;
        const moved = (): boolean => view !== known;
        if (known.deadlineMs === null) {
          await condition(moved);
          continue;
        }
        // Looking again at once at what did not change would be a loop without end: the clock of the database may be behind ours.
        const waitMs = Math.max(known.deadlineMs - Date.now(), looks > 0 ? LOOK_AGAIN_MS : 0);
        if (waitMs > 0 && (await condition(moved, Math.min(waitMs, TIMER_MS_MAX)))) continue;
        if (known.deadlineMs > Date.now()) continue;
        looks += 1;
        return false;
      }
    },
    takes<Input>({ update, signal }: StepMessages<Input>, take: (input: Input | undefined, key: string) => Promise<PaymentView>) {
      setHandler(update, async (input: Input) => {
        somebodyWaited = true;
        learn(await take(input, keys.ofUpdate()));
        return view;
      }, {
        validator: (_input: Input) => {
          if (view.ended) throw ApplicationFailure.create({ message: `The payment has ended: it is ${view.state}.`, type: 'invalid_state',
            nonRetryable: true });
        },
      });
      setHandler(signal, async (input: Input) => {
        const key = keys.ofSignal(signal.name);
        try {
          learn(await take(input, key));
          lastRefusal = null;
        } catch (error) {
          // Nobody waits for the answer of a signal: it is kept for whoever looks, and the payment goes on.
          lastRefusal = reasonOf(error);
          log.warn('A signal was refused.', { reason: lastRefusal });
        }
      });
    },
    carriedOver: () => ({ view, ...keys.carriedOver() }),
    async answered() {
      for (;;) {
        await condition(allHandlersFinished);
        // Temporal takes no end of a run while a message waits that the run has not seen: it fails the whole task, and whoever waits for
        // an update that was answered in it hears of a failure although the step was done. So answers go out in a task before the last.
        if (!somebodyWaited) return;
        somebodyWaited = false;
        await sleep(NEXT_TASK_MS);
      }
    },
  };
}

/** Is this where a payment can stand? */
function isView(value: unknown): value is PaymentView {
  const { version, state, ended, deadlineMs } = (typeof value === 'object' && value !== null ? value
    : {}) as Partial<Record<keyof PaymentView, unknown>>;
  return Number.isSafeInteger(version) && typeof state === 'string' && typeof ended === 'boolean'
    && (deadlineMs === null || Number.isFinite(deadlineMs));
}

/** The sentence of the innermost cause: the outer ones only say that an activity failed. */
function reasonOf(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  return inner instanceof Error ? inner.message : String(inner);
}
