/**
 * What requests, workflows and activities of payments send one another. JSON: amounts are decimal strings, times milliseconds since 1970.
 */
import type { Actor, Opening, Refusal } from './payment.ts';

/** Where a payment stands. */
export interface PaymentView {
  readonly id: string;
  /** Grows by one with everything that happens to it. */
  readonly version: number;
  readonly state: string;
  /** Nothing will change any more. */
  readonly ended: boolean;
  /** When the clock decides; milliseconds since 1970, null at the end. */
  readonly deadlineMs: number | null;
  /** Null while it is not known who will be paid. */
  readonly seller: string | null;
  readonly resolution: string | null;
  /** What has gone back to the buyer so far. */
  readonly returned: string;
  /** At the end of a payment with parts: what each payee was paid in all. */
  readonly paid?: Paid;
}

/** Who was paid what; amounts are decimal text. */
type Paid = readonly { readonly to: string; readonly amount: string }[];

/** Something that has happened to a payment, as its workflow keeps and shows it. */
export interface PaymentFact {
  readonly version: number;
  readonly step: string;
  readonly role: string;
  readonly by: string;
  readonly state: string;
  readonly atMs: number;
  /** What moved, where something did. */
  readonly held?: string;
  readonly paid?: string;
  readonly payee?: string;
  readonly returned?: string;
  readonly resolution?: string;
  /** The beginning of what the actor said. */
  readonly note?: string;
}

/** Beside a step's input: what the platform knows of the request behind it. Operators send none. */
export interface StepRequest {
  readonly actor: Actor;
  /** The version that the request has seen. A workflow whose own is older lets the activity decide. */
  readonly seenVersion: number;
  /** After this nothing happens any more; the database's clock, milliseconds since 1970. */
  readonly notAfterMs: number;
  /** The client's idempotency key. */
  readonly claim: { readonly owner: string; readonly key: string; readonly requestHash: string } | null;
}

/** What is to be opened. */
export interface OpenRequest {
  /** `amountMicros` in digits. */
  readonly opening: Omit<Opening, 'amountMicros'> & { readonly amountMicros: string };
  readonly askedAtMs: number;
  readonly notAfterMs: number;
  readonly claim: StepRequest['claim'];
}

/** What the workflow of a payment is started with. */
export interface PaymentInput {
  readonly id: string;
  /** Names this start; the attempt that opens the payment, and the beginning of the names that its signals get. */
  readonly startId: string;
  readonly amount: string;
  readonly asset: string;
  readonly buyer: string;
  /** Null: the payment is there already, and this workflow takes it over. */
  readonly open: OpenRequest | null;
  /** Where it stood when the start was sent; null where it is to be opened. */
  readonly view: PaymentView | null;
  /** Search attributes that the server knows; others are not set. */
  readonly searchAttributes: readonly string[];
  /** What an earlier run of the same workflow hands on. */
  readonly carried?: { readonly facts: readonly PaymentFact[]; readonly signals: Readonly<Record<string, number>> };
  /** A new run begins after so many events of history; Temporal's own suggestion when left out. */
  readonly eventsMax?: number;
}

/** How a payment ended. */
export interface PaymentResult {
  readonly id: string;
  readonly version: number;
  /** As in the API, or `not_opened`. */
  readonly state: string;
  /** Why: the resolution of the payment, or the code of the refusal to open it. */
  readonly resolution: string;
  /** Who decided it, and as what. */
  readonly by: string;
  readonly role: string;
  /** The sentence of a refusal, or what the one who decided has said. */
  readonly reason?: string;
  readonly paid: Paid;
  readonly returned: string;
}

/** What an activity of a payment is asked to do. `known`: the version that the workflow knows; what came after it is reported. */
export interface OpenTask {
  readonly id: string;
  readonly attempt: string;
  readonly known: number;
  readonly open: OpenRequest;
}
export interface StepTask {
  readonly id: string;
  readonly attempt: string;
  readonly known: number;
  /** As it was sent: anything at all. */
  readonly input: unknown;
  /** Null: an operator's. */
  readonly request: StepRequest | null;
}
export interface ClockTask {
  readonly id: string;
  readonly known: number;
}

/** What an activity of a payment has done: where the payment stands now, what has happened since, and why the step was not taken if so. */
export interface PaymentReport {
  /** Null: there is no such payment, because it was not opened. */
  readonly view: PaymentView | null;
  readonly facts: readonly PaymentFact[];
  readonly refusal?: Refusal;
  /** How the seller is written in searches, where that is not by the address. */
  readonly sellerInSearches?: string;
}
