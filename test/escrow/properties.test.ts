/** Whatever happens to an escrow, in whichever order: what was held is paid or comes back, the end is the end, and there is one. */
import fc from 'fast-check';
import {
  escrowRules, escrowStatuses, escrowSteps, type EscrowPayment, type EscrowStep, type EscrowTerms,
} from '../../domain/escrow.ts';
import { escrowBounds, readEscrowInput } from '../../domain/escrow-input.ts';
import { micros } from '../../domain/money.ts';
import { decide, decideByClock, isEnd } from '../../domain/decide.ts';
import type { Actor, Opening, Verdict } from '../../domain/payment.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { aDeposit, anAddress } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { arbiter, buyer, escrowNowMs, seller, stranger } from '../support/escrow-rules.ts';
import { deadlineIn } from '../support/escrows.ts';
import { applied, opened } from '../support/payment-model.ts';
import { anOpening, directPayments, noAttempt, type DirectPayments } from '../support/payments.ts';

/** When a step comes: a while later, or as seen from the deadline. */
type When = { readonly afterMs: number } | { readonly fromDeadlineMs: number };
interface Act { readonly step: EscrowStep | 'clock'; readonly actor: Actor; readonly raw: object; readonly when: When }

const parties = { buyer, seller, arbiter, stranger };
const anActor: fc.Arbitrary<Actor> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(buyer, seller, arbiter, stranger).map((address): Actor => ({ address, as: null })) },
  { weight: 1, arbitrary: fc.constantFrom('platform', 'arbiter', 'buyer', 'seller').map((as): Actor =>
    ({ address: null, as: as as 'platform' })) },
);
const aText = (max: number) => fc.oneof(fc.string({ minLength: 1, maxLength: 30 }), fc.constant('x'.repeat(max))).filter((text) =>
  text.trim() !== '');
const someInput: Readonly<Record<EscrowStep | 'clock', fc.Arbitrary<object>>> = {
  deliver: fc.constant({}), confirm: fc.constant({}), cancel: fc.constant({}), decline: fc.constant({}), clock: fc.constant({}),
  dispute: aText(escrowBounds.textMax).map((reason) => ({ reason })), evidence: aText(escrowBounds.textMax).map((content) => ({ content })),
  arbitrate: fc.constantFrom({}, { arbitratorAddr: arbiter }, { arbitratorAddr: stranger }),
  resolve: fc.oneof(
    fc.constantFrom({ resolution: 'release' }, { resolution: 'refund' }),
    fc.record({ resolution: fc.constant('partial'), releaseAmount: fc.constantFrom('0.000001', '0.3', '0.999999', '1', '7'),
      reason: aText(escrowBounds.reasonMax) }),
  ),
};
// Steps that keep an escrow alive come more often than those that end it, or no sequence would get far.
const aStep = fc.constantFrom<EscrowStep | 'clock'>(...escrowSteps, 'clock', 'deliver', 'dispute', 'dispute', 'evidence', 'evidence',
  'arbitrate', 'arbitrate');
const aWhen: fc.Arbitrary<When> = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 2_000 }).map((afterMs) => ({ afterMs })) },
  { weight: 1, arbitrary: fc.constantFrom(-1, 0, 1, 86_400_000).map((fromDeadlineMs) => ({ fromDeadlineMs })) },
);
/** Mostly by whoever's step it is. */
const anAct: fc.Arbitrary<Act> = aStep.chain((step) => fc.record({
  step: fc.constant(step), raw: someInput[step], when: aWhen,
  actor: fc.oneof({ weight: 3, arbitrary: fc.constant<Actor>({ address: parties[roleFor(step)], as: null }) },
    { weight: 1, arbitrary: anActor }),
}));
const someTerms: fc.Arbitrary<EscrowTerms> = fc.record({
  serviceId: fc.constant(null), buyerMayCancel: fc.boolean(),
  deliveryMs: fc.integer({ min: escrowBounds.durationMsMin, max: escrowBounds.durationMsMax }),
  reviewMs: fc.integer({ min: escrowBounds.durationMsMin, max: escrowBounds.durationMsMax }),
  rulingMs: fc.integer({ min: escrowBounds.durationMsMin, max: escrowBounds.durationMsMax }),
});
const aStory = fc.record({
  terms: someTerms, hasArbiter: fc.boolean(), amountMicros: fc.oneof(fc.constant(1_000_000n),
    fc.bigInt({ min: 1n, max: 999_999_999_999_999_999n })),
  acts: fc.array(anAct, { maxLength: 30 }),
});
type Story = typeof aStory extends fc.Arbitrary<infer Value> ? Value : never;

function roleFor(step: EscrowStep | 'clock'): keyof typeof parties {
  const operator = step === 'clock' ? null : escrowRules.steps[step].operator;
  return operator === null || operator === 'platform' || operator === 'clock' ? 'buyer' : operator;
}

const openedEscrow = (opening: Opening, nowMs: number) => opened(escrowRules, opening, nowMs) as EscrowPayment;

function judge(payment: EscrowPayment, { step, actor, raw }: Act, nowMs: number): Verdict {
  if (step !== 'clock') return decide(escrowRules, payment, { step, actor, input: readEscrowInput(step, raw) }, nowMs);
  const verdict = decideByClock(escrowRules, payment, nowMs);
  if (verdict.kind === 'postpone') throw new Error('An escrow is not postponed.');
  return verdict;
}

const timeOf = (payment: EscrowPayment, when: When, nowMs: number): number =>
  ('afterMs' in when ? nowMs + when.afterMs : Math.max(nowMs, (payment.deadlineMs ?? nowMs) + when.fromDeadlineMs));

/** Lives a story and looks at every state it passes. @returns where it leads. */
function live({ terms, hasArbiter, amountMicros, acts }: Story, look: (payment: EscrowPayment, nowMs: number) => void): EscrowPayment {
  let nowMs = escrowNowMs;
  let payment = openedEscrow({ ...anOpening({ buyer, seller }), arbiter: hasArbiter ? arbiter : null, amountMicros: micros(amountMicros),
    terms }, nowMs);
  look(payment, nowMs);
  for (const act of acts) {
    nowMs = timeOf(payment, act.when, nowMs);
    const verdict = judge(payment, act, nowMs);
    if (verdict.kind === 'refuse') continue;
    // What the clock has decided in the place of a step is told to whoever came with it.
    expect(verdict.refusal === null).toBe(verdict.decision.step !== 'clock');
    expect(verdict.decision.isDue).toBe(verdict.decision.step === 'clock');
    expect((verdict.decision.note ?? '').length).toBeLessThanOrEqual(escrowBounds.textMax);
    payment = applied(payment, verdict.decision);
    look(payment, nowMs);
  }
  return payment;
}

describe('whatever happens to an escrow', () => {
  const runs = { numRuns: 300 };

  test('never more goes out than was held, and at the end exactly that', () => {
    fc.assert(fc.property(aStory, (story) => void live(story, ({ heldMicros, paidMicros, returnedMicros, state }) => {
      const out = paidMicros + returnedMicros;
      if (isEnd(escrowRules, state)) expect(out).toBe(heldMicros);
      // An escrow has no instalments: until the end all of it waits.
      else expect(out).toBe(0n);
      expect(heldMicros).toBe(story.amountMicros);
    })), runs);
  });

  test('there is a deadline until the end and none after it, and a resolution exactly then', () => {
    fc.assert(fc.property(aStory, (story) => void live(story, ({ state, deadlineMs, resolution }, nowMs) => {
      const ended = isEnd(escrowRules, state);
      expect([deadlineMs === null, resolution !== null]).toEqual([ended, ended]);
      if (deadlineMs !== null) expect(deadlineMs).toBeGreaterThan(nowMs);
    })), runs);
  });

  test('wherever it is, the clock alone brings it to an end within as many steps as there are states', () => {
    fc.assert(fc.property(aStory, (story) => void live(story, (reached) => {
      let payment = reached;
      for (let steps = 0; payment.deadlineMs !== null; steps += 1) {
        expect(steps).toBeLessThan(escrowStatuses.length);
        const verdict = decideByClock(escrowRules, payment, payment.deadlineMs);
        if (verdict.kind !== 'apply') throw new Error('The clock must decide what is overdue.');
        payment = applied(payment, verdict.decision);
      }
      expect(payment.paidMicros + payment.returnedMicros).toBe(payment.heldMicros);
    })), runs);
  });

  test('after the end nothing happens any more, whoever comes and however late', () => {
    fc.assert(fc.property(aStory, fc.array(anAct, { minLength: 1, maxLength: 5 }), (story, later) => {
      const payment = live(story, () => undefined);
      if (payment.deadlineMs !== null) return;
      for (const act of later) for (const lateMs of [0, 1, 1e12]) expect(judge(payment, act, escrowNowMs + lateMs).kind).toBe('refuse');
    }), runs);
  });

  test('what is remembered of it has a limit', () => {
    fc.assert(fc.property(aStory, (story) => void live(story, ({ details, resolution }) => {
      expect((resolution ?? '').length).toBeLessThanOrEqual(escrowBounds.reasonMax + 'arbitration_partial: '.length);
      expect((details.disputeReason ?? '').length).toBeLessThanOrEqual(escrowBounds.textMax);
      expect(JSON.stringify({ ...details, disputeReason: '' }).length).toBeLessThan(400);
      expect(Math.max(details.evidence?.buyer ?? 0, details.evidence?.seller ?? 0)).toBeLessThanOrEqual(escrowBounds.evidenceEachMax);
    })), runs);
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
    expect([...passed].sort()).toEqual([...escrowStatuses].sort());
  });
});

describe('on Postgres', () => {
  let db: TestDatabase;
  let payments: DirectPayments;
  beforeAll(async () => {
    db = await createTestDatabase();
    payments = await directPayments(db.pool);
  });
  afterAll(() => db.close());

  /** Where time plays no part; the database has a clock of its own. */
  const known = ({ state, version, heldMicros, paidMicros, returnedMicros, resolution, details }: EscrowPayment) => {
    const { disputeReason = null, evidence = null } = details;
    return { state, version, heldMicros, paidMicros, returnedMicros, resolution, disputeReason, evidence };
  };

  interface DatabaseAct extends Act { readonly late: boolean; readonly again: boolean }
  const aDatabaseAct: fc.Arbitrary<DatabaseAct> = fc.record({ act: anAct, late: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    again: fc.boolean() })
    .map(({ act, ...more }) => ({ ...act, ...more }));

  /** Takes the step in the model and in the books. @returns the model as it is then. */
  async function both(model: EscrowPayment, names: Readonly<Record<string, string>>, act: DatabaseAct,
    attempt: string): Promise<EscrowPayment> {
    const { id } = model;
    const nowMs = escrowNowMs;
    const before = model.deadlineMs === null ? model : { ...model, deadlineMs: act.late ? nowMs - 1 : nowMs + 60_000 };
    if (act.late && model.deadlineMs !== null) await deadlineIn(db.pool, id, -1_000);
    const verdict = judge(before, act, nowMs);
    const after = verdict.kind === 'apply' ? applied(before, verdict.decision) : before;
    const actor = { ...act.actor, address: act.actor.address === null ? null : (names[act.actor.address] ?? '') };
    const raw = 'arbitratorAddr' in act.raw ? { arbitratorAddr: names[String(act.raw.arbitratorAddr)] } : act.raw;
    for (let n = 0; n < (act.again ? 2 : 1); n += 1) {
      const taken = act.step === 'clock' ? await payments.clock(id) : await payments.step(id, act.step, actor, raw,
        { attempt, messageSent: true });
      if (act.step === 'clock') expect(taken !== null).toBe(verdict.kind === 'apply' && n === 0);
      else expect(taken?.kind).toBe(verdict.kind === 'apply' && verdict.refusal === null ? 'done' : 'refused');
      if (taken?.kind === 'refused' && verdict.refusal !== null) expect(taken.refusal).toEqual(verdict.refusal);
    }
    const row = await payments.store.read(id);
    expect(known(row?.payment as EscrowPayment)).toEqual(known(after));
    return after;
  }

  test('any sequence of steps leaves the row where the model is, each version an event, and the books right', async () => {
    let runs = 0;
    await fc.assert(fc.asyncProperty(fc.array(aDatabaseAct, { maxLength: 12 }), fc.boolean(), fc.boolean(),
      async (acts, hasArbiter, buyerMayCancel) => {
      runs += 1;
      const names = { [buyer]: anAddress(), [seller]: anAddress(), [arbiter]: anAddress(), [stranger]: anAddress() };
      const parties = { buyer: names[buyer] ?? '', seller: names[seller] ?? '', arbiter: hasArbiter ? (names[arbiter] ?? '') : null };
      await aDeposit(db.pool, parties.buyer, '1.5');
      const opening = anOpening(parties, { buyerMayCancel });
      const taken = await payments.taker.open(escrowRules, { ...noAttempt, opening, askedAtMs: Date.now(), workflowStarted: false });
      expect(taken).toMatchObject({ kind: 'done', payment: { version: 1, state: 'pending' } });
      // The model has the same escrow among people whose names are always the same.
      let model = openedEscrow({ ...opening, buyer, seller, arbiter: hasArbiter ? arbiter : null }, escrowNowMs);
      for (const [n, act] of acts.entries()) {
        model = await both(model, names, act, `${opening.id}:${n}`);
        if (model.deadlineMs !== null) await deadlineIn(db.pool, opening.id, 60_000);
      }
      const events = await payments.store.eventsAfter(opening.id, 0);
      expect(events.map(({ version }) => version)).toEqual(Array.from({ length: model.version }, (_, n) => n + 1));
      const { rows } = await db.pool.query('SELECT owner, available, escrowed FROM account WHERE owner = ANY ($1)',
        [[parties.buyer, parties.seller]]);
      const purse = (owner: string, of: 'available' | 'escrowed'): bigint => BigInt((rows as Record<string, string>[]).find((row) =>
        row['owner'] === owner)?.[of] ?? 0);
      expect([purse(parties.buyer, 'available'), purse(parties.buyer, 'escrowed'), purse(parties.seller, 'available')]).toEqual(
        [500_000n + model.returnedMicros, model.heldMicros - model.paidMicros - model.returnedMicros, model.paidMicros]);
    }), { numRuns: 60, endOnFailure: true });
    expect(runs).toBeGreaterThanOrEqual(60);
    expect(await auditBooks(db.pool, { overdueMs: 60_000 })).toEqual({ ok: true, findings: [] });
  }, 120_000);
});
