/**
 * Long calls: what they do by themselves, and who may do what with one. The table is the rules; nothing repeats them, and the diagram in
 * docs/long-calls.md is made from it.
 */
import type { CallRequest } from './gateway.ts';
import type { FundsStatus } from './errors.ts';
import type { Micros } from './money.ts';
import type { Refusal } from './payment.ts';

/** asking: its seller is still to be asked, or has not answered. The other three say what they are. */
export const longCallStates = ['asking', 'begun', 'settled', 'released'] as const;
export type LongCallState = (typeof longCallStates)[number];

/** What people do with a long call; also the names of its updates and signals, after `surety-`. */
export const longCallSteps = ['complete', 'fail', 'progress', 'cancel'] as const;
export type LongCallStep = (typeof longCallSteps)[number];

/** In which capacity somebody acts. An operator at Temporal acts for the party whose step it is. */
type Role = 'buyer' | 'seller';

/** Who asks for a step. `address` null: the platform, for an operator or for whoever holds the signed link. */
export interface LongCallActor {
  readonly address: string | null;
}

interface StepRule {
  readonly by: Role;
  /** Refusal of anybody else. */
  readonly only: string;
  /** For "… and then it is not possible to …". */
  readonly verb: string;
}

interface StateRule {
  readonly end?: true;
  readonly funds: FundsStatus;
  /** What a refusal says of the call in this state. */
  readonly is: string;
  /** Where it leads by itself, and when. */
  readonly leads: Partial<Readonly<Record<LongCallState, string>>>;
  readonly on: Partial<Readonly<Record<LongCallStep, LongCallState>>>;
}

/** What the rules look at. */
export interface JudgedCall {
  readonly state: LongCallState;
  readonly buyer: string;
  /** Who is asked, or was. */
  readonly seller: string;
}

const byBegun = { complete: 'settled', fail: 'released', progress: 'begun' } as const;

export const longCallRules: {
  readonly opens: LongCallState;
  readonly steps: Readonly<Record<LongCallStep, StepRule>>;
  readonly states: Readonly<Record<LongCallState, StateRule>>;
} = {
  opens: 'asking',
  steps: {
    complete: { by: 'seller', only: 'Only the seller that was asked may complete the call.', verb: 'complete it' },
    fail: { by: 'seller', only: 'Only the seller that was asked may give the call up.', verb: 'give it up' },
    progress: { by: 'seller', only: 'Only the seller that was asked may say how far the call is.', verb: 'say how far it is' },
    cancel: { by: 'buyer', only: 'Only the buyer may cancel the call.', verb: 'cancel it' },
  },
  states: {
    asking: {
      funds: 'held_pending', is: 'The call waits for its seller to begin',
      leads: { begun: 'the seller answered 202', settled: 'the seller delivered at once',
        released: 'no seller took it, or its time is up' },
      on: { ...byBegun, cancel: 'released' },
    },
    begun: {
      funds: 'held_pending', is: 'The seller has begun: the price is paid when it delivers, and given back when it does not',
      leads: { released: 'time of the seller is up' }, on: byBegun,
    },
    settled: { end: true, funds: 'settled_safe', is: 'The call was completed and its price is paid to the seller', leads: {}, on: {} },
    released: { end: true, funds: 'returned', is: 'The call has ended unpaid and its price went back to the buyer', leads: {}, on: {} },
  },
};

/** Why a step is impossible in this state, whoever asks; null when it is not. What the validators of the workflow ask. */
export function longCallStateRefusal(state: LongCallState, step: LongCallStep): Refusal | null {
  const { is, on } = longCallRules.states[state];
  if (on[step] !== undefined) return null;
  return { code: 'invalid_state', message: `${is}, and then it is not possible to ${longCallRules.steps[step].verb}.` };
}

/** Why this is refused; null when it may be done. */
export function longCallRefusal(call: JudgedCall, step: LongCallStep, { address }: LongCallActor): Refusal | null {
  const rule = longCallRules.steps[step];
  if (address !== null && address.toLowerCase() !== call[rule.by]) return { code: 'unauthorized', message: rule.only };
  return longCallStateRefusal(call.state, step);
}

/** The states as arrows, for the diagram: each way with who may take it, or what leads there. */
export function longCallArrows(): readonly { readonly from: string; readonly to: string; readonly label?: string }[] {
  const ways = longCallStates.flatMap((from) => {
    const { leads, on, end } = longCallRules.states[from];
    const label = (step: string): string => `${step} (${longCallRules.steps[step as LongCallStep].by})`;
    const steps = Object.entries(on).map(([step, to]) => ({ from, to, label: label(step) }));
    return [...steps, ...Object.entries(leads).map(([to, label]) => ({ from, to, label })), ...(end ? [{ from, to: '[*]' }] : [])];
  });
  return [{ from: '[*]', to: longCallRules.opens, label: 'open' }, ...ways];
}

/** The longest time a service may declare for its work, in seconds. */
export const DURATION_SECS_MAX = 86_400;
/** A call whose seller could not be asked is given back so long after its time, in milliseconds: asking may have to wait for Temporal. */
export const UNASKED_GRACE_MS = 30_000;
/** How much a seller may say about its progress, in characters. */
export const NOTE_MAX = 500;

/** A long call as people see it. */
export interface LongCall {
  readonly id: string;
  readonly sessionId: string;
  readonly buyer: string;
  readonly seller: string;
  readonly serviceId: string;
  readonly serviceName: string;
  readonly workflowId: string;
  readonly state: LongCallState;
  readonly version: number;
  /** What it costs when the seller delivers. */
  readonly priceMicros: Micros;
  /** Until when the seller has time. */
  readonly deadline: Date;
  readonly askedAt: Date | null;
  readonly begunAt: Date | null;
  readonly percent: number | null;
  readonly note: string | null;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
}

/** Something that has happened to a long call. */
export interface LongCallEvent {
  readonly version: number;
  readonly step: string;
  readonly role: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly at: Date;
}

/** What a step brings with it, as the routes and the messages have read it. */
export type LongCallInput =
  | { readonly step: 'complete'; readonly resultJson: string | null }
  | { readonly step: 'fail'; readonly reason: string }
  | { readonly step: 'progress'; readonly percent: number | null; readonly note: string | null }
  | { readonly step: 'cancel' };

/** A long call after a request, and whether an earlier one had done the same. */
export interface LongCallAnswer {
  readonly call: LongCall;
  readonly replayed: boolean;
}

/** What the HTTP edge may ask of long calls. */
export interface LongCallPort {
  /**
   * Accepts a call whose answer is not waited for. `sessionId` null: with a hold of its own of `maxPriceMicros`. `baseUrl`: of this API,
   * for the link that the seller gets. Errors: those of `GatewayPort.call` but for its end, and insufficient_balance.
   */
  open(wish: { readonly buyer: string; readonly tenantId: string | null; readonly sessionId: string | null; readonly baseUrl: string },
    request: CallRequest): Promise<LongCallAnswer>;
  /** Null where there is no such call, or it is not a long one. Errors: unavailable. */
  read(id: string): Promise<LongCall | null>;
  /** What happened after this version, oldest first. Errors: unavailable. */
  events(id: string, page: { readonly after: number; readonly limit: number }): Promise<readonly LongCallEvent[]>;
  /** Resolves when something has happened to the call after this version, or the time is up. Errors: unavailable. */
  changed(id: string, version: number, timeoutMs: number): Promise<void>;
  /** Takes a step. Errors: not_found, unauthorized (403), invalid_state, busy, unavailable. */
  step(id: string, input: LongCallInput, actor: LongCallActor): Promise<LongCallAnswer>;
  /** Whether this text is the one in the link that the seller of this call got, for as long as it has time. */
  isLinkOf(call: Pick<LongCall, 'id' | 'seller'>, token: string): boolean;
}
