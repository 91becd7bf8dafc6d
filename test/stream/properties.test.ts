/** Whatever happens to a stream, in whichever order: what was held is paid or comes back, and the seller has the sum of the ticks. */
import fc from 'fast-check';
import { decide, decideByClock, isEnd } from '../../domain/decide.ts';
import { SuretyError } from '../../domain/errors.ts';
import { formatMicros, micros, type Micros } from '../../domain/money.ts';
import type { ClockVerdict } from '../../domain/payment.ts';
import { asStream, isDepositLow, isPaused, priceOf, streamBounds, streamRules, tickOutcome, type StreamPayment, type StreamStep,
  type TickQuestion } from '../../domain/stream.ts';
import { auditBooks } from '../../ledger/audit.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { actors, applied, opened, rulesNowMs } from '../support/rules.ts';
import { aStreamOpening, directStreams, type DirectStreams } from '../support/stream-rules.ts';
import { eventsOf, silent } from '../support/streams.ts';

type Party = 'buyer' | 'seller';
type Who = Party | 'stranger';
interface Ticks { readonly act: 'tick' | 'ticks'; readonly who: Who; readonly gap: number | null;
  readonly amounts: readonly (bigint | null)[] }
interface Step { readonly act: StreamStep; readonly who: Who; readonly amount: bigint }
type Act = Ticks | Step | { readonly act: 'clock'; readonly late: boolean };

const PRICE = 100_000n;
const aWho: fc.Arbitrary<Who> = fc.constantFrom('buyer', 'buyer', 'buyer', 'seller', 'seller', 'stranger');
const anAmount = fc.constantFrom(null, null, 1n, PRICE - 1n, PRICE, PRICE + 1n, 3n * PRICE, 999_999_999_999_999_999n);
/** How far the number is from the next; null: none is given. */
const aGap = fc.constantFrom(null, null, 0, 0, 0, -1, 1, 7);
const someTicks: fc.Arbitrary<Ticks> = fc.oneof(
  fc.record({ act: fc.constant('tick' as const), who: aWho, gap: aGap, amounts: fc.tuple(anAmount) }),
  fc.record({ act: fc.constant('ticks' as const), who: aWho, gap: aGap, amounts: fc.array(anAmount, { minLength: 1, maxLength: 5 }) }),
);
const aStep: fc.Arbitrary<Step> = fc.record({ act: fc.constantFrom<StreamStep>('topup', 'topup', 'topup', 'close'), who: aWho,
  amount: fc.constantFrom(1n, PRICE, 500_000n) });
const anAct: fc.Arbitrary<Act> = fc.oneof(
  { weight: 7, arbitrary: someTicks }, { weight: 3, arbitrary: aStep },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('clock' as const), late: fc.boolean() }) },
);
const aStory = fc.record({ deposit: fc.constantFrom('0.10', '0.35', '1.00'), acts: fc.array(anAct, { maxLength: 25 }) });

function questionOf({ meter }: StreamPayment, { who, gap, amounts }: Ticks): TickQuestion {
  const fromSeq = gap === null ? null : Math.max(1, meter.uses + 1 + gap);
  return { by: who === 'stranger' ? null : who, fromSeq, amountsMicros: amounts as readonly (Micros | null)[] };
}

/** The stream after ticks that were recorded. */
function ticked(stream: StreamPayment, amounts: TickQuestion['amountsMicros'], nowMs: number): StreamPayment {
  const { meter } = stream;
  const usedMicros = micros(amounts.reduce<bigint>((sum, amount) => sum + (amount ?? priceOf(stream)), meter.usedMicros));
  return { ...stream, meter: { ...meter, usedMicros, uses: meter.uses + amounts.length, lastUsedAtMs: nowMs } };
}

function judge(stream: StreamPayment, act: Exclude<Act, Ticks>, nowMs: number): ClockVerdict {
  if (act.act === 'clock') return decideByClock(streamRules, stream, act.late ? nowMs + 60_000 : nowMs);
  const input = streamRules.read(act.act, act.act === 'topup' ? { amount: formatMicros(act.amount) } : {});
  return decide(streamRules, stream, { step: act.act, actor: actors[act.who], input }, nowMs);
}

/** What an act makes of a stream, by the rules alone. */
function next(stream: StreamPayment, act: Act, nowMs: number): { readonly stream: StreamPayment; readonly said: string } {
  if ('amounts' in act) {
    const question = questionOf(stream, act);
    const said = tickOutcome(stream.meter, priceOf(stream), question);
    return { said, stream: said === 'recorded' ? ticked(stream, question.amountsMicros, nowMs) : stream };
  }
  const verdict = judge(stream, act, nowMs);
  if (verdict.kind === 'refuse') return { said: verdict.refusal.code, stream };
  if (verdict.kind === 'postpone') return { said: 'postponed', stream: { ...stream, deadlineMs: verdict.untilMs } };
  return { said: 'done', stream: applied(stream, verdict.decision) };
}

test('by the rules: never more is used than was held, and the end pays exactly what was used and gives back the rest', () => {
  const passed = new Set<string>();
  fc.assert(fc.property(aStory, ({ deposit, acts }) => {
    let stream = asStream(opened(streamRules, aStreamOpening({ deposit }), rulesNowMs));
    for (const act of acts) {
      const before = stream;
      stream = next(stream, act, rulesNowMs).stream;
      const { heldMicros, paidMicros, returnedMicros, meter, state, deadlineMs, resolution } = stream;
      expect(meter.usedMicros).toBeLessThanOrEqual(heldMicros);
      expect(meter.capacityMicros).toBe(heldMicros);
      const ended = isEnd(streamRules, state);
      expect([deadlineMs === null, resolution !== null, !meter.isOpen]).toEqual([ended, ended, ended]);
      expect([paidMicros, returnedMicros]).toEqual(ended ? [meter.usedMicros, heldMicros - meter.usedMicros] : [0n, 0n]);
      if (isEnd(streamRules, before.state)) expect(stream).toEqual(before);
      passed.add(state);
    }
  }), { numRuns: 300 });
  expect([...passed].sort()).toEqual(['closed', 'open', 'stale_closed']);
});

describe('on Postgres', () => {
  let db: TestDatabase;
  let streams: DirectStreams;
  beforeAll(async () => {
    db = await createTestDatabase();
    streams = await directStreams(db.pool);
  });
  afterAll(() => db.close());

  /** Asks SQL what it makes of ticks: `recorded`, or the code of its refusal. */
  async function asked(stream: StreamPayment, { act, who }: Pick<Ticks, 'act' | 'who'>, question: TickQuestion): Promise<string> {
    const { fromSeq, amountsMicros: [amountMicros = null, ...more] } = question;
    const agent = who === 'stranger' ? actors.stranger.address : (stream[who] ?? '');
    const common = { streamId: stream.id, agent, idempotency: null };
    const all = [amountMicros, ...more].map((each) => ({ amountMicros: each, metadata: null }));
    try {
      if (act === 'tick') await streams.ticks.tick({ ...common, seq: fromSeq, amountMicros, metadata: null });
      else await streams.ticks.tickBatch({ ...common, fromSeq, count: all.length, ticks: all });
      return 'recorded';
    } catch (error) {
      if (error instanceof SuretyError) return error.code;
      throw error;
    }
  }

  /** Does the act in the books. @returns what came of it. */
  async function done(stream: StreamPayment, act: Act): Promise<string> {
    if ('amounts' in act) return asked(stream, act, questionOf(stream, act));
    if (act.act === 'clock') {
      if (act.late && stream.deadlineMs !== null) await silent(db.pool, stream);
      return (await streams.clock(stream.id)) === null ? 'invalid_state' : 'done';
    }
    const actor = act.who === 'stranger' ? actors.stranger : { address: stream[act.who], as: null };
    const taken = await streams.step(stream.id, act.act, actor, act.act === 'topup' ? { amount: formatMicros(act.amount) } : {});
    return taken.kind === 'done' ? 'done' : taken.refusal.code;
  }

  /** Where time plays no part. */
  const known = ({ state, version, heldMicros, paidMicros, returnedMicros, resolution, meter }: StreamPayment) => {
    const { isOpen, usedMicros, uses, capacityMicros } = meter;
    return { state, version, heldMicros, paidMicros, returnedMicros, resolution, isOpen, usedMicros, uses, capacityMicros };
  };

  test('any sequence of ticks and steps leaves row and meter where the rules lead, and the books right', async () => {
    await fc.assert(fc.asyncProperty(aStory, async ({ deposit, acts }) => {
      const first = await streams.open({ deposit });
      await db.pool.query(`SELECT ledger_deposit($1, 'USDC', 20000000, $2, NULL)`, [first.buyer, `for-${first.id}`]);
      let model = asStream({ ...opened(streamRules, aStreamOpening({ deposit }), rulesNowMs), id: first.id, buyer: first.buyer,
        seller: first.seller });
      for (const act of acts.slice(0, 12)) {
        // Names in the rules are those of the row; a clock that is late is late for a stream that nobody has ticked since.
        const mine = { ...model, buyer: actors.buyer.address, seller: actors.seller.address,
          meter: { ...model.meter, lastUsedAtMs: rulesNowMs }, deadlineMs: model.deadlineMs === null ? null : rulesNowMs + 60_000 };
        const { stream: after, said } = next(mine, act, rulesNowMs);
        expect(await done(model, act)).toBe(said);
        const row = await streams.read(model.id);
        expect(known(row)).toEqual(known({ ...after, buyer: model.buyer, seller: model.seller }));
        model = { ...after, buyer: model.buyer, seller: model.seller };
      }
    }), { numRuns: 50, endOnFailure: true });
    expect(await auditBooks(db.pool, { overdueMs: 60_000 })).toEqual({ ok: true, findings: [] });
  }, 120_000);

  /** A meter somewhere in its life: sums near its end, counts near the last number, open or not. */
  const aMeter = fc.record({
    capacity: fc.bigInt({ min: 1n, max: 2_000n }), share: fc.integer({ min: 0, max: 1_000 }), price: fc.bigInt({ min: 1n, max: 500n }),
    uses: fc.oneof(fc.integer({ min: 0, max: 9 }), fc.integer({ min: streamBounds.seqMax - 3, max: streamBounds.seqMax })),
    isOpen: fc.integer({ min: 0, max: 5 }).map((n) => n > 0),
  });
  const aQuestion = fc.record({
    act: fc.constantFrom<'tick' | 'ticks'>('tick', 'ticks'), who: aWho, gap: fc.constantFrom(null, null, 0, 0, -1, 1),
    amounts: fc.array(fc.option(fc.bigInt({ min: 1n, max: 600n })), { minLength: 1, maxLength: 4 }),
  });

  test('SQL makes of any tick of any meter what tickOutcome says, and tells what is left as isDepositLow and isPaused say', async () => {
    const { id } = await streams.open();
    const seen = new Set<string>();
    await fc.assert(fc.asyncProperty(aMeter, aQuestion, async ({ capacity, share, price, uses, isOpen }, asking) => {
      const used = (capacity * BigInt(share)) / 1_000n;
      await db.pool.query(`UPDATE meter SET capacity = $2, used = $3, price_max = $4, uses = $5, open = $6, low_noted = false,
                             empty_noted = false WHERE id = $1`,
        [id, capacity.toString(), used.toString(), price.toString(), uses, isOpen]);
      await db.pool.query(`UPDATE payment SET terms = terms || jsonb_build_object('pricePerTickMicros', $2::text) WHERE id = $1`,
        [id, price.toString()]);
      // Ticks cannot be taken away, but by whoever may leave triggers out: the next round may use the same numbers.
      await withoutTriggers([`DELETE FROM stream_tick WHERE stream_id = '${id}'`,
        `DELETE FROM outbox WHERE ref = '${id}' AND topic <> 'stream.open'`]);
      const before = await streams.read(id);
      const question = questionOf(before, asking.act === 'tick' ? { ...asking, amounts: asking.amounts.slice(0, 1) } : asking);
      if (question.fromSeq !== null && question.fromSeq > streamBounds.seqMax) return;
      const wanted = tickOutcome(before.meter, priceOf(before), question);
      seen.add(wanted);
      expect(await asked(before, asking, question)).toBe(wanted);
      const { meter } = await streams.read(id);
      const model = wanted === 'recorded' ? ticked(before, question.amountsMicros, 0) : before;
      expect([meter.usedMicros, meter.uses]).toEqual([model.meter.usedMicros, model.meter.uses]);
      const told = wanted === 'recorded'
        ? [...(isDepositLow(meter) ? ['deposit_low'] : []), ...(isPaused(meter, priceOf(before)) ? ['paused'] : [])] : [];
      expect((await eventsOf(db.pool, { id })).slice(1)).toEqual(told);
    }), { numRuns: 400, endOnFailure: true });
    expect([...seen].sort()).toEqual(['hold_exhausted', 'invalid_amount', 'recorded', 'sequence_mismatch', 'stream_closed', 'stream_full',
      'unauthorized']);
  }, 60_000);

  async function withoutTriggers(statements: readonly string[]): Promise<void> {
    const client = await db.pool.connect();
    try {
      await client.query(`BEGIN;SET LOCAL session_replication_role = replica;${statements.join(';')};COMMIT`);
    } finally {
      client.release();
    }
  }
});
