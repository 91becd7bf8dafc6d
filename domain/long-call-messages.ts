/**
 * What requests, the workflow and the activities of a long call send one another. JSON: amounts are decimal strings, times milliseconds
 * since 1970.
 */
import type { LongCallInput, LongCallState } from './long-call.ts';
import type { Refusal } from './payment.ts';

/** Where a long call stands. */
export interface LongCallView {
  readonly id: string;
  /** Grows by one with everything that happens to it. */
  readonly version: number;
  readonly state: LongCallState;
  readonly ended: boolean;
  /** Until when the seller has time. */
  readonly deadlineMs: number;
  readonly seller: string;
  readonly service: string;
  /** What it costs when the seller delivers, or was paid. */
  readonly price: string;
  /** Why it was given back. */
  readonly reason?: string;
}

/** Something that has happened to it, as its workflow shows it. */
export interface LongCallFact {
  readonly version: number;
  readonly step: string;
  readonly role: string;
  readonly atMs: number;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Where it stands after an activity, with what has happened since the version that the workflow knew. */
export interface LongCallReport {
  readonly view: LongCallView;
  readonly facts: readonly LongCallFact[];
  /** How the seller is written in searches, where that is not by the address. */
  readonly sellerInSearches?: string;
}

/** What came of a step; a refusal has changed nothing. */
export interface LongCallTaken extends LongCallReport {
  readonly refusal?: Refusal;
}

/**
 * What came of asking a seller. begun: it works, or has ended the call · waits: nobody knows whether it does, and it may not be asked twice
 * · again: nobody knows, and it may be asked again.
 */
export interface Asked extends LongCallReport {
  readonly outcome: 'begun' | 'waits' | 'again';
}

/** The task of an activity. `known`: the version up to which the workflow knows the call. */
export interface LongCallTask {
  readonly id: string;
  readonly known: number;
}

/** A step that came by message. `by`: the address of whoever acts; left out by an operator, who acts for the party. */
export interface LongCallStepTask extends LongCallTask {
  readonly input: LongCallInput;
  readonly by?: string;
}

/** What the workflow of a long call is started with: the first time, whenever it was lost, and when its history has become long. */
export interface GatewayCallInput {
  readonly id: string;
  readonly buyer: string;
  readonly asset: string;
  /** Where it stood when the start was sent. */
  readonly view: LongCallView;
  /** What the run before has shown of it. */
  readonly lines?: readonly string[];
  /** Search attributes that the server knows; others are not set. */
  readonly searchAttributes?: readonly string[];
  /** After so many events a new run goes on; when Temporal suggests it where this is left out. */
  readonly eventsMax?: number;
}

/** How a long call ended. */
export interface GatewayCallResult {
  readonly id: string;
  readonly version: number;
  readonly state: LongCallState;
  readonly service: string;
  readonly seller: string;
  /** What the seller was paid. */
  readonly paid: string;
  /** What went back to the buyer, or to the budget of the session. */
  readonly returned: string;
  readonly reason?: string;
}
