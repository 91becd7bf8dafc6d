/**
 * What every kind of payment has in common. A kind is a table (`Rules`): for each state, who may take which step, where it leads, what
 * money
 * it moves, how long the state lasts and what the clock decides then. `decide` (decide.ts) reads it.
 */
import type { ErrorCode, FundsStatus } from './errors.ts';
import type { Micros } from './money.ts';

export const roles = ['buyer', 'seller', 'arbiter', 'platform', 'clock'] as const;
/** In which capacity somebody acts. `clock`: nobody did, and the time was up. */
export type Role = (typeof roles)[number];

/** Who takes a step. */
export interface Actor {
  /** The agent behind the API key; null for an operator without one. */
  readonly address: string | null;
  /** The role in which an operator acts. Null: the one that the address has. A named arbiter is that before anything else. */
  readonly as: Role | null;
}

/** A payment as its row has it. Amounts in micros of `asset`, times in milliseconds since 1970 by the database's clock. */
export interface Payment<Terms = unknown, Details = unknown> {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  /** Grows by one with every decision that was applied; the event of that number tells which. */
  readonly version: number;
  /** When the clock decides the state it is in. Null: it has ended. */
  readonly deadlineMs: number | null;
  readonly buyer: string;
  /** Null where the payee is not known yet. */
  readonly seller: string | null;
  /** Named when the payment was opened. Null: the platform rules where there is something to rule. */
  readonly arbiter: string | null;
  readonly tenantId: string | null;
  readonly asset: string;
  readonly heldMicros: Micros;
  readonly paidMicros: Micros;
  readonly returnedMicros: Micros;
  /** Why it ended as it did; null while it has not. */
  readonly resolution: string | null;
  /** What was agreed on; never changes. */
  readonly terms: Terms;
  /** What else the kind remembers of what has happened. */
  readonly details: Details;
  /** What calls or ticks count on, where the kind has such; as it was when the row was read, and it moves on without the row. */
  readonly meter: Meter | null;
  /** In order; empty where the kind has none. */
  readonly parts: readonly Part[];
  readonly workflowId: string;
  /** A start of its workflow was sent. What ends before that needs none. */
  readonly workflowStarted: boolean;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly endedAtMs: number | null;
}

/**
 * What thousands of uses a second count on, such as the calls of a session: they move no payment, and change this beside its row. What is
 * used is taken from what is held; `reserved` is promised to uses under way.
 */
export interface Meter {
  readonly isOpen: boolean;
  readonly capacityMicros: Micros;
  readonly usedMicros: Micros;
  readonly reservedMicros: Micros;
  readonly uses: number;
  /** The deadline of the payment counts only after so many milliseconds without a use. Null: in any case. */
  readonly idleMs: number | null;
  /** The latest use, or the beginning. */
  readonly lastUsedAtMs: number;
}

/** What a meter is opened with; its capacity is what is held. */
export interface MeterTerms {
  /** The most that one use may cost. */
  readonly priceMicrosMax: Micros;
  readonly idleMs: number | null;
  readonly usesPerMinute: number | null;
  /** Nothing begins after the payment's first deadline. */
  readonly closesAtDeadline: boolean;
}

/** A part of a payment with a payee of its own. */
export interface Part {
  readonly index: number;
  readonly payee: string;
  readonly amountMicros: Micros;
  /** Null until it is paid. */
  readonly paidAtMs: number | null;
}

/**
 * A movement of the payment's money, resolved under the locks of hold and meter. `rest`: all that is still held and promised to no use
 * under way; `used`: what the meter has counted. `count`: what uses have settled by themselves, so that the row names it; nothing moves.
 */
export type Move =
  | { readonly move: 'hold' | 'increase'; readonly amountMicros: Micros }
  /** `part`: the index of the part that this pays. */
  | { readonly move: 'pay'; readonly to: string; readonly amountMicros: Micros | 'rest' | 'used'; readonly part?: number }
  | { readonly move: 'giveBack'; readonly amountMicros: Micros | 'rest' }
  | { readonly move: 'count'; readonly amountMicros: 'used' };

/** Why a step is not taken. JSON; the sentence is for whoever asked. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
}

/** In one line. */
export function refusal(code: ErrorCode, message: string): Refusal {
  return { code, message };
}

/** What is to become of a payment. `payment_apply` makes it so in one transaction, or says that the payment has moved on meanwhile. */
export interface Decision {
  /** `open`, a step of the kind, or `clock`. */
  readonly step: string;
  readonly role: Role;
  /** The address behind the role; `platform` or `clock` where there is none. */
  readonly by: string;
  readonly to: string;
  readonly deadlineMs: number | null;
  /** What it assumes of the deadline of the state it leaves: passed, not passed, or (null) either. */
  readonly isDue: boolean | null;
  readonly moves: readonly Move[];
  readonly resolution: string | null;
  readonly details: unknown;
  /** What the actor said, for the record. */
  readonly note: string | null;
  /** The payee, where this step is what makes it known. */
  readonly seller: string | null;
  /** Nothing may use the meter from now on; and whether the decision assumes that nothing is under way. */
  readonly meter: { readonly closes: boolean; readonly assumesDrained: boolean } | null;
}

/**
 * Take this decision, and answer whoever asked with `refusal` if the decision is not what was asked for: the clock came first, or it was a
 * wrong try that counts. Or only refuse.
 */
export type Verdict =
  | { readonly kind: 'apply'; readonly decision: Decision; readonly refusal: Refusal | null }
  | { readonly kind: 'refuse'; readonly refusal: Refusal };

/** What the clock says: a verdict, or that the payment was used meanwhile. Then its deadline moves on, and nothing has happened. */
export type ClockVerdict = Verdict | { readonly kind: 'postpone'; readonly untilMs: number };

/** What a rule may look at. */
export interface Context<Terms, Details, Input> {
  readonly payment: Payment<Terms, Details>;
  readonly role: Role;
  readonly by: string;
  readonly input: Input;
  readonly nowMs: number;
}

/** Where a transition leads and what it moves, when only the input can say it. */
export interface Choice<State extends string> {
  readonly to: State;
  readonly moves: readonly Move[];
  readonly resolution: string | null;
  /** The decision is taken, and whoever asked is refused all the same: a wrong try that is counted. */
  readonly refusal?: Refusal;
  /** Added to the payment's details, where the transition cannot say it for every choice. */
  readonly details?: object;
  /** The payee, where this choice is what makes it known. */
  readonly seller?: string;
  /** For the record, in the place of what the actor said. */
  readonly note?: string;
  /** Whether uses of the meter under way matter: it ends only when there are none, and is decided anew when one has begun meanwhile. */
  readonly assumesDrained?: boolean;
}

/** One line of the table: what a step does in a state, or what the clock does at its end. */
export interface Transition<Terms, Details, Input, State extends string> {
  /** Several: `choose` says which of them. */
  readonly to: State | readonly State[];
  readonly choose?: (context: Context<Terms, Details, Input>) => Choice<State> | Refusal;
  /** All that is still held goes there. Left out: no money moves, or `choose` says it. */
  readonly moves?: 'paySeller' | 'giveBack';
  readonly resolution?: string;
  readonly unless?: (context: Context<Terms, Details, Input>) => Refusal | null;
  /** What it adds to the payment's details; `deadlineMs` is that of the state it leads to. */
  readonly details?: (context: Context<Terms, Details, Input>, deadlineMs: number | null) => Partial<Details>;
  /** The payee, where this is what makes it known. */
  readonly seller?: (context: Context<Terms, Details, Input>) => string | null;
}

/** A state: how long it lasts and what may be done in it, or that it is an end. */
export type StateRule<Terms, Details, Input, State extends string, Step extends string> =
  | {
      readonly funds: FundsStatus;
      /** When its time is up, in milliseconds since 1970. */
      readonly until: (payment: Pick<Payment<Terms, Details>, 'terms' | 'details'>, nowMs: number) => number;
      /** What ends with it, for a timer's line in Temporal: "review". */
      readonly time: string;
      readonly clock: Transition<Terms, Details, undefined, State>;
      readonly on: Partial<Record<Step, Transition<Terms, Details, Input, State>>>;
    }
  | { readonly funds: FundsStatus; readonly end: true };

/** What holds of a step in every state. */
export interface StepRule<Terms, Details, Input> {
  readonly by: readonly Role[] | ((payment: Pick<Payment, 'arbiter'>) => readonly Role[]);
  /** Refusal of anybody else. */
  readonly only: string | ((payment: Payment<Terms, Details>) => string);
  /** As whom an operator acts who does not say it; null: it must be said. */
  readonly operator: Role | null;
  /** For "… and then it is not possible to …"; the name of the step when left out. */
  readonly verb?: string;
  /** Refusals that do not depend on state or time, such as terms that do not allow it at all. */
  readonly unless?: (context: Context<Terms, Details, Input>) => Refusal | null;
  /** What the actor said, for the record. */
  readonly note?: (input: Input) => string | null;
  /**
   * When the deadline has passed and nobody has acted on it yet: the clock decides first and this step is refused (the default), this
   * step is refused and the clock waits for its workflow, or the step is still allowed.
   */
  readonly afterDeadline?: 'clockFirst' | 'refused' | 'allowed';
}

/** A kind of payment as a table. */
export interface Rules<Terms, Details, Input, State extends string, Step extends string> {
  readonly kind: string;
  /** For sentences: "The escrow is pending". */
  readonly noun: string;
  /** Where held money waits in the account. */
  readonly bucket: 'escrowed' | 'pending';
  /** Its first state, and what it remembers from the beginning. */
  readonly opens: { readonly to: State; readonly details?: (deadlineMs: number | null) => Partial<Details> };
  readonly steps: Readonly<Record<Step, StepRule<Terms, Details, Input>>>;
  readonly states: Readonly<Record<State, StateRule<Terms, Details, Input, State, Step>>>;
  /** The kind has a meter, opened with this. It is open in the first state only. */
  readonly meter?: (terms: Terms) => MeterTerms;
  /** Reads what was sent with a step, the same fields by HTTP and by message. @throws SuretyError validation_error and the like. */
  readonly read: (step: Step, raw: unknown) => Input;
  /** The role of an address, where it is not simply buyer, seller or arbiter. */
  readonly roleOf?: (payment: Payment<Terms, Details>, address: string) => Role | null;
}

// The engine handles kinds without knowing their terms; each kind is typed where it is written.
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- see above
export type AnyRules = Rules<any, any, any, any, any>;

/** What is asked for when a payment is opened. JSON but for the amount. */
export interface Opening {
  readonly id: string;
  readonly buyer: string;
  readonly seller: string | null;
  readonly arbiter: string | null;
  readonly tenantId: string | null;
  readonly asset: string;
  readonly amountMicros: Micros;
  readonly terms: unknown;
  readonly workflowId: string;
  /** Keyed hash of a secret by which its holder finds the payment; null for most kinds. */
  readonly lookup: string | null;
  /** Parts with payees of their own, in order; their amounts, in digits of micros, add up to the whole. */
  readonly parts?: readonly { readonly payee: string; readonly amountMicros: string }[];
}
