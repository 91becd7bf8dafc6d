/**
 * Takes steps of payments: reads the row and the database's clock together, lets the rules decide, and has the decision applied. Activities
 * and requests that do not wait for Temporal call this same function; whichever comes second with one attempt gets what the first one got.
 */
import { SuretyError } from '../../domain/errors.ts';
import type { IdempotencyClaim } from '../../domain/gateway.ts';
import { decide, decideByClock, decideOpening } from '../../domain/decide.ts';
import type { Actor, AnyRules, ClockVerdict, Opening, Payment, Refusal } from '../../domain/payment.ts';
import type { Applied, ApplyItem, PaymentEvent } from '../../ledger/payment-rows.ts';
import type { PaymentStore } from '../../ledger/payment-store.ts';

/** What every attempt carries, whichever way it goes. */
export interface Attempt {
  /** Its name; that of the update that carries it. Null for the clock, whose step can only be taken once anyhow. */
  readonly attempt: string | null;
  /** After this, by the database's clock in milliseconds since 1970, nothing happens any more. */
  readonly notAfterMs: number | null;
  /** The client's idempotency key, with whose it is. */
  readonly claim: (IdempotencyClaim & { readonly owner: string }) | null;
  /** A message of this attempt was sent to Temporal, so a refusal must hold for it as well. */
  readonly messageSent: boolean;
}

export interface StepWish extends Attempt {
  readonly id: string;
  readonly step: string;
  readonly actor: Actor;
  /** As it was sent; the kind's rules read it. */
  readonly input: unknown;
  /** Where it was a moment ago, for whoever has just read it. */
  readonly seen?: Found;
}

/** A payment, and the database's time at that moment. */
export interface Found {
  readonly payment: Payment;
  readonly nowMs: number;
}

export interface OpenWish extends Attempt {
  readonly opening: Opening;
  /** When it was asked for, by the database's clock in milliseconds since 1970: its first deadline counts from there. */
  readonly askedAtMs: number;
  /** A start of the workflow was sent. */
  readonly workflowStarted: boolean;
}

/** What became of an attempt. */
export type Taken =
  /** `replayed`: an earlier request with the same idempotency key did it; `again`: this very attempt did it before. */
  | { readonly kind: 'done'; readonly payment: Payment; readonly replayed: boolean; readonly again: boolean;
    readonly event: PaymentEvent | null }
  /** `payment`: where it stands; null where there is none. `event`: what was done instead, such as what the clock has decided. */
  | { readonly kind: 'refused'; readonly refusal: Refusal; readonly payment: Payment | null; readonly event: PaymentEvent | null };

export interface Taker {
  open(rules: AnyRules, wish: OpenWish): Promise<Taken>;
  /** Errors: not_found, validation_error and the like (nothing was written), busy, unavailable. */
  step(rules: AnyRules, wish: StepWish): Promise<Taken>;
  /** Does what the clock demands, if it is due by the database's clock. Null: nothing was due. Errors: not_found, busy, unavailable. */
  clock(rules: AnyRules, id: string): Promise<Taken | null>;
}

export interface TakerDeps {
  readonly store: PaymentStore;
  /** Hears of each decision that this process has applied. */
  readonly onApplied: (rules: AnyRules, payment: Payment) => void;
}

/** A payment that others move at the same moment is read and decided on anew so many times. */
const TRIES = 5;

type Decided = Pick<ApplyItem, 'id' | 'expect' | 'decision' | 'opening' | 'refusal' | 'workflowStarted' | 'postponeToMs'>;
type Judge = (payment: Payment, nowMs: number) => ClockVerdict;

const otherRequest: Refusal = { code: 'idempotency_mismatch', message: 'This Idempotency-Key was used before with a different request.' };
const nobody: Attempt = { attempt: null, notAfterMs: null, claim: null, messageSent: false };

export function createTaker({ store, onApplied }: TakerDeps): Taker {
  const inTurn = createTurns();

  async function apply(rules: AnyRules, attempt: Attempt, item: Decided): Promise<Applied> {
    const { messageSent: recordsRefusal, notAfterMs, claim } = attempt;
    const applied = await store.apply({ ...item, recordsRefusal, attempt: attempt.attempt, notAfterMs, claim });
    if (applied.outcome === 'done' && applied.payment !== null) onApplied(rules, applied.payment);
    return applied;
  }

  /** Has it decided and applied until it meets the payment where it was decided on. */
  function tryTo(rules: AnyRules, wish: Attempt & { id: string; seen?: Found }, judge: Judge): Promise<Taken> {
    return inTurn(wish.id, () => tryInTurn(rules, wish, judge));
  }

  async function tryInTurn(rules: AnyRules, { id, seen, ...attempt }: Attempt & { id: string; seen?: Found },
      judge: Judge): Promise<Taken> {
    for (let tries = 0; tries < TRIES; tries += 1) {
      const found: Found | null = (tries === 0 ? seen : undefined) ?? (await store.read(id));
      // The rules of one kind must never judge a payment of another.
      if (found === null || found.payment.kind !== rules.kind) throw new SuretyError('not_found', `There is no such ${rules.noun}.`);
      const verdict = judge(found.payment, found.nowMs);
      // Nothing to write and nobody who could have been here before with the same name.
      if (verdict.kind === 'refuse' && attempt.attempt === null && attempt.claim === null) {
        return { ...verdict, kind: 'refused', payment: found.payment, event: null };
      }
      const item = { id, expect: found.payment.version, ...decidedOf(verdict), opening: null, workflowStarted: false };
      const taken = takenOf(await apply(rules, attempt, item));
      if (taken !== null) return taken;
    }
    throw new SuretyError('busy', `Too many others act on this ${rules.noun} at the same moment; nothing was changed by this request.`);
  }

  return {
    async open(rules, wish) {
      const { opening, askedAtMs, workflowStarted } = wish;
      for (let tries = 0; tries < TRIES; tries += 1) {
        const decision = decideOpening(rules, opening, askedAtMs);
        const meter = rules.meter?.(opening.terms) ?? null;
        const whole = { ...opening, kind: rules.kind, bucket: rules.bucket, askedAtMs, meter };
        const item = { id: opening.id, expect: 0, decision, postponeToMs: null, opening: whole, refusal: null, workflowStarted };
        const taken = takenOf(await apply(rules, wish, item));
        if (taken !== null) return taken;
      }
      throw new SuretyError('busy', `Too many requests with this key came at the same moment; this one opened no ${rules.noun}.`);
    },

    step(rules, wish) {
      const input: unknown = rules.read(wish.step, wish.input);
      return tryTo(rules, wish, (payment, nowMs) => decide(rules, payment, { step: wish.step, actor: wish.actor, input }, nowMs));
    },

    async clock(rules, id) {
      let wasDue = false;
      const taken = await tryTo(rules, { ...nobody, id }, (payment, nowMs) => {
        const verdict = decideByClock(rules, payment, nowMs);
        wasDue = verdict.kind === 'apply';
        return verdict;
      });
      // Applied, it carries the refusal for those who come too late.
      return wasDue ? taken : null;
    },
  };
}

/**
 * Steps of one payment wait for one another in this process. All of a group would be decided on the same version, and all but one in
 * vain; of twenty that came at once most would be told that it is busy.
 */
function createTurns(): <Result>(id: string, run: () => Promise<Result>) => Promise<Result> {
  const last = new Map<string, Promise<unknown>>();
  return (id, run) => {
    const before = last.get(id);
    const turn = before === undefined ? run() : before.then(run, run);
    const forget = (): void => { if (last.get(id) === turn) last.delete(id); };
    last.set(id, turn);
    turn.then(forget, forget);
    return turn;
  };
}

function decidedOf(verdict: ClockVerdict): Pick<Decided, 'decision' | 'refusal' | 'postponeToMs'> {
  if (verdict.kind === 'postpone') return { decision: null, refusal: null, postponeToMs: verdict.untilMs };
  return { decision: verdict.kind === 'apply' ? verdict.decision : null, refusal: verdict.refusal, postponeToMs: null };
}

/** Null: the payment has moved on since it was decided on. */
function takenOf({ outcome, refusal, payment, event }: Applied): Taken | null {
  switch (outcome) {
    case 'conflict': return null;
    case 'mismatch': return { kind: 'refused', payment, event, refusal: otherRequest };
    default:
      if (refusal !== null) return { kind: 'refused', refusal, payment, event };
      if (payment === null) return null;
      return { kind: 'done', payment, event, replayed: outcome === 'replay', again: outcome === 'again' };
  }
}
