/** The clock of a session that is closing waits for the calls under way, and asks less and less often. */
import { decideByClock } from '../../domain/decide.ts';
import { micros, parseAmount } from '../../domain/money.ts';
import type { Payment } from '../../domain/payment.ts';
import { sessionRules, storedTerms } from '../../domain/session.ts';
import { aNewSession } from '../support/builders-gateway.ts';
import { buyer, opened, rulesNowMs } from '../support/rules.ts';

test('half a minute, then twice as long each time, up to a quarter of an hour', () => {
  const { id, terms } = aNewSession({ agent: buyer });
  const open = opened(sessionRules, { id, buyer, seller: null, arbiter: null, tenantId: null, asset: 'USDC', lookup: null,
    amountMicros: parseAmount('1.00'), terms: storedTerms(terms), workflowId: id }, rulesNowMs);
  let payment: Payment = { ...open, meter: open.meter === null ? null : { ...open.meter, reservedMicros: micros(1n) } };
  const waitsSecs: number[] = [];
  for (let round = 0; round < 8; round += 1) {
    const nowMs = payment.deadlineMs ?? 0;
    const verdict = decideByClock(sessionRules, payment, nowMs);
    if (verdict.kind !== 'apply') throw new Error('The clock has nothing to decide.');
    const { to, deadlineMs, details } = verdict.decision;
    expect(to).toBe('closing');
    waitsSecs.push(((deadlineMs ?? 0) - nowMs) / 1_000);
    payment = { ...payment, state: to, deadlineMs, details, version: payment.version + 1 };
  }
  expect(waitsSecs).toEqual([30, 60, 120, 240, 480, 900, 900, 900]);
});
