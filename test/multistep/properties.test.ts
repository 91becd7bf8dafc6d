/** Whatever happens to a plan, in whichever order: what was held is paid or comes back, and no step is paid twice. */
import fc from 'fast-check';
import { decideByClock, isEnd } from '../../domain/decide.ts';
import { multistepBounds, multistepRules, multistepStatuses, type MultistepPayment, type MultistepStep } from '../../domain/multistep.ts';
import type { Actor, Opening, Verdict } from '../../domain/payment.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { deadlineIn } from '../support/escrows.ts';
import { aMultistepOpening, otherSeller } from '../support/multistep-rules.ts';
import { directPayments, noAttempt, type DirectPayments } from '../support/payments.ts';
import { applied, buyer, opened, rulesNowMs, seller, stranger, verdictOn } from '../support/rules.ts';

interface Act { readonly step: MultistepStep | 'clock'; readonly actor: Actor; readonly raw: object }
interface Story {
  readonly steps: readonly { readonly payee: string; readonly amountMicros: string }[];
  readonly acts: readonly (Act & { readonly afterMs: number })[];
}

const byBuyer: Actor = { address: buyer, as: null };
const anActor: fc.Arbitrary<Actor> = fc.oneof({ weight: 9, arbitrary: fc.constant(byBuyer) },
  { weight: 1, arbitrary: fc.constantFrom<Actor>({ address: seller, as: null }, { address: stranger, as: null },
    { address: null, as: 'buyer' }, { address: null, as: 'platform' }) });
/** A few of them are outside the plan, and a few say something else than the plan does. */
const aConfirmation = fc.record({ stepIndex: fc.integer({ min: -1, max: 6 }), more: fc.constantFrom({}, {}, {}, {}, { sellerAddr: seller },
  { amount: '0.000005' }) }).map(({ stepIndex, more }) => ({ stepIndex, ...more }));
const anAct: fc.Arbitrary<Act> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ step: fc.constant('confirm-step' as const), actor: anActor, raw: aConfirmation }) },
  { weight: 1, arbitrary: fc.record({ step: fc.constantFrom('refund' as const, 'clock' as const), actor: anActor, raw: fc.constant({}) }) },
);
const aPlan = (stepsMax: number, amountMax: bigint) => fc.array(fc.record({ payee: fc.constantFrom(seller, otherSeller),
  amountMicros: fc.oneof(fc.constant(5n), fc.bigInt({ min: 1n, max: amountMax })).map(String) }), { minLength: 1, maxLength: stepsMax });
const aStory: fc.Arbitrary<Story> = fc.record({
  steps: aPlan(6, 9_999_999_999_999_999n),
  acts: fc.array(fc.record({ act: anAct, afterMs: fc.oneof({ weight: 20, arbitrary: fc.integer({ min: 0, max: 2_000 }) },
    { weight: 1, arbitrary: fc.constant(60_000) }) }).map(({ act, afterMs }) => ({ ...act, afterMs })), { maxLength: 25 }),
});

const begun = (opening: Opening): MultistepPayment => opened(multistepRules, opening, rulesNowMs) as MultistepPayment;
const judge = (payment: MultistepPayment, act: Act, nowMs: number): Verdict => verdictOn(multistepRules, payment, act, nowMs);

/** Lives a story and looks at every state it passes; `applied` refuses to pay a part twice. @returns where it leads. */
function live({ steps, acts }: Story, look: (payment: MultistepPayment, nowMs: number) => void): MultistepPayment {
  let [nowMs, payment] = [rulesNowMs, begun(aMultistepOpening(buyer, steps))];
  look(payment, nowMs);
  for (const act of acts) {
    nowMs += act.afterMs;
    const verdict = judge(payment, act, nowMs);
    if (verdict.kind === 'refuse') continue;
    // The clock decides by itself only: no step is taken for another one.
    expect(verdict.decision.step).toBe(act.step);
    payment = applied(payment, verdict.decision);
    look(payment, nowMs);
  }
  return payment;
}

describe('whatever happens to a plan', () => {
  const runs = { numRuns: 400 };
  const paidOf = ({ parts }: MultistepPayment): bigint =>
    parts.reduce((sum, { paidAtMs, amountMicros }) => sum + (paidAtMs === null ? 0n : amountMicros), 0n);

  test('what was paid is the sum of the steps that were, nothing comes back before the end, and then all of it went somewhere', () => {
    fc.assert(fc.property(aStory, (story) => void live(story, (payment) => {
      const { heldMicros, paidMicros, returnedMicros, state, parts } = payment;
      expect(paidMicros).toBe(paidOf(payment));
      if (isEnd(multistepRules, state)) expect(paidMicros + returnedMicros).toBe(heldMicros);
      else expect(returnedMicros).toBe(0n);
      expect(state === 'completed').toBe(parts.every(({ paidAtMs }) => paidAtMs !== null));
      expect(state === 'aborted').toBe(returnedMicros > 0n);
    })), runs);
  });

  test('a step that was paid stays paid, and only the step that was named is paid', () => {
    fc.assert(fc.property(aStory, (story) => {
      let before: MultistepPayment | undefined;
      live(story, (payment) => {
        const changed = before?.parts.filter(({ index, paidAtMs }) => payment.parts[index]?.paidAtMs !== paidAtMs) ?? [];
        expect(changed.every(({ paidAtMs }) => paidAtMs === null)).toBe(true);
        expect(changed.length).toBeLessThanOrEqual(1);
        before = payment;
      });
    }), runs);
  });

  test('there is a deadline until the end, which never moves, and a resolution exactly at the end', () => {
    fc.assert(fc.property(aStory, (story) => void live(story, ({ state, deadlineMs, resolution, details }) => {
      const ended = isEnd(multistepRules, state);
      expect([deadlineMs, resolution !== null]).toEqual([ended ? null : rulesNowMs + 60_000, ended]);
      expect(details.expiresAtMs).toBe(rulesNowMs + 60_000);
    })), runs);
  });

  test('in any order, every step confirmed once completes it', () => {
    const anOrder = aPlan(multistepBounds.stepsMax, 9_999_999_999n).chain((steps) => fc.record({ steps: fc.constant(steps),
      order: fc.shuffledSubarray(steps.map((_, n) => n), { minLength: steps.length, maxLength: steps.length }) }));
    fc.assert(fc.property(anOrder, ({ steps, order }) => {
      const acts = order.map((stepIndex) => ({ step: 'confirm-step' as const, actor: byBuyer, raw: { stepIndex }, afterMs: 0 }));
      expect(live({ steps, acts }, () => undefined)).toMatchObject({ state: 'completed', returnedMicros: 0n, version: steps.length + 1 });
    }), { numRuns: 60 });
  });

  test('after the end nothing happens any more, and until then the clock alone can end it', () => {
    fc.assert(fc.property(aStory, fc.array(anAct, { minLength: 1, maxLength: 5 }), (story, later) => {
      const payment = live(story, () => undefined);
      if (payment.deadlineMs !== null) {
        const verdict = decideByClock(multistepRules, payment, payment.deadlineMs);
        expect(verdict).toMatchObject({ kind: 'apply', decision: { to: 'aborted' } });
      } else for (const act of later) for (const lateMs of [0, 1e12]) expect(judge(payment, act, rulesNowMs + lateMs).kind).toBe('refuse');
    }), runs);
  });

  test('a refusal says why in a sentence, and the same question has the same answer', () => {
    fc.assert(fc.property(aStory, anAct, (story, act) => void live(story, (payment, nowMs) => {
      const verdict = judge(payment, act, nowMs);
      if (verdict.kind === 'refuse') expect(verdict.refusal.message).toMatch(/^[A-Z].*\.$/);
      expect(judge(payment, act, nowMs)).toEqual(verdict);
    })), runs);
  });

  test('these stories pass every state', () => {
    const passed = new Set<string>();
    fc.assert(fc.property(aStory, (story) => void live(story, ({ state }) => void passed.add(state))), runs);
    expect([...passed].sort()).toEqual([...multistepStatuses].sort());
  });
});

describe('on Postgres', () => {
  let db: TestDatabase;
  let payments: DirectPayments;
  beforeAll(async () => {
    db = await createTestDatabase();
    payments = await directPayments(db.pool, { rules: multistepRules });
  });
  afterAll(() => db.close());

  const aDatabaseAct = fc.record({ act: anAct, late: fc.integer({ min: 0, max: 14 }).map((n) => n === 0), again: fc.boolean() });
  type DatabaseAct = typeof aDatabaseAct extends fc.Arbitrary<infer Value> ? Value : never;
  /** Where time plays no part; the database has a clock of its own. */
  const known = ({ state, version, paidMicros, returnedMicros, resolution, parts }: MultistepPayment) => ({ state, version, paidMicros,
    returnedMicros, resolution, parts: parts.map(({ paidAtMs, ...part }) => ({ ...part, isPaid: paidAtMs !== null })) });

  /** Takes the step in the model and in the books. @returns the model as it is then. */
  async function both(model: MultistepPayment, { act, late, again }: DatabaseAct, attempt: string): Promise<MultistepPayment> {
    const before = model.deadlineMs === null ? model : { ...model, deadlineMs: rulesNowMs + (late ? -1 : 60_000) };
    if (late && model.deadlineMs !== null) await deadlineIn(db.pool, model.id, -1_000);
    const verdict = judge(before, act, rulesNowMs);
    const after = verdict.kind === 'apply' ? applied(before, verdict.decision) : before;
    for (let n = 0; n < (again ? 2 : 1); n += 1) {
      const taken = act.step === 'clock' ? await payments.clock(model.id)
        : await payments.step(model.id, act.step, act.actor, act.raw, { attempt, messageSent: true });
      if (act.step === 'clock') expect(taken !== null).toBe(verdict.kind === 'apply' && n === 0);
      else expect(taken?.kind).toBe(verdict.kind === 'apply' ? 'done' : 'refused');
      if (act.step !== 'clock' && taken?.kind === 'refused') expect(taken.refusal).toEqual(verdict.refusal);
    }
    expect(known((await payments.store.read(model.id))?.payment as MultistepPayment)).toEqual(known(after));
    return after;
  }

  test('any sequence of steps leaves the row where the model is, each version an event, and the books right', async () => {
    const available = async (owner: string): Promise<bigint> =>
      BigInt((await db.pool.query<{ available: string }>('SELECT available FROM account WHERE owner = $1', [owner]))
        .rows[0]?.available ?? 0);
    await aDeposit(db.pool, buyer, '1000');
    await fc.assert(fc.asyncProperty(aPlan(6, 1_000_000n), fc.array(aDatabaseAct, { maxLength: 12 }), async (steps, acts) => {
      const [one, two] = [anAddress(), anAddress()];
      const opening = aMultistepOpening(buyer,
        steps.map(({ payee, amountMicros }) => ({ payee: payee === seller ? one : two, amountMicros })));
      const before = await available(buyer);
      const taken = await payments.taker.open(multistepRules, { ...noAttempt, opening, askedAtMs: Date.now(), workflowStarted: false });
      expect(taken).toMatchObject({ kind: 'done', payment: { version: 1, state: 'open' } });
      let model = begun(opening);
      for (const [n, { act, ...more }] of acts.entries()) {
        const raw = 'sellerAddr' in act.raw ? { ...act.raw, sellerAddr: one } : act.raw;
        model = await both(model, { act: { ...act, raw }, ...more }, `${opening.id}:${n}`);
        if (model.deadlineMs !== null) await deadlineIn(db.pool, opening.id, 60_000);
      }
      const events = await payments.store.eventsAfter(opening.id, 0);
      expect(events.map(({ version }) => version)).toEqual(Array.from({ length: model.version }, (_, n) => n + 1));
      expect(await available(buyer)).toBe(before - model.heldMicros + model.returnedMicros);
      expect((await available(one)) + (await available(two))).toBe(model.paidMicros);
    }), { numRuns: 60, endOnFailure: true });
    expect(await auditBooks(db.pool, { overdueMs: 60_000 })).toEqual({ ok: true, findings: [] });
  }, 120_000);
});
