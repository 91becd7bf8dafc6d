/** How any table of rules is read: here a small made-up one, with what escrows do not need. */
import { decide } from '../../domain/decide.ts';
import { roles, type Payment, type Rules } from '../../domain/payment.ts';
import { anEscrow } from '../support/escrow-rules.ts';
import { arbiter, buyer, rulesNowMs as NOW, stranger } from '../support/rules.ts';

describe('a step after the deadline', () => {
  const rest = { by: ['buyer'], only: 'Only the buyer.', operator: 'buyer' } as const;
  /** A parcel is opened in time, returned in time, and may be complained about for ever. */
  const parcels: Rules<object, object, undefined, 'sent' | 'kept' | 'back' | 'lost', 'open' | 'giveUp' | 'complain' | 'find'> = {
    kind: 'parcel', noun: 'parcel', bucket: 'pending', opens: { to: 'sent' }, read: () => undefined,
    steps: {
      open: rest, giveUp: { ...rest, afterDeadline: 'refused', verb: 'give it up' }, complain: { ...rest, afterDeadline: 'allowed' },
      find: { by: ['seller'], only: 'Only the finder.', operator: null },
    },
    states: {
      sent: {
        funds: 'held_pending', time: 'journey', until: (_payment, nowMs) => nowMs + 10,
        clock: { to: 'lost', moves: 'giveBack', resolution: 'lost' },
        on: {
          open: { to: 'kept', moves: 'paySeller', resolution: 'opened' },
          complain: { to: 'back', moves: 'giveBack', resolution: 'complained' },
          giveUp: { to: 'back', moves: 'giveBack', resolution: 'given_up' },
          find: { to: 'kept', moves: 'paySeller', resolution: 'found', seller: ({ by }) => by },
        },
      },
      kept: { funds: 'settled_safe', end: true }, back: { funds: 'returned', end: true }, lost: { funds: 'returned', end: true },
    },
    roleOf: (_payment, address) => (address === stranger ? 'seller' : null),
  };
  const parcel = (change: Partial<Payment> = {}): Payment => ({ ...anEscrow({ deadlineMs: NOW }), kind: 'parcel', state: 'sent',
    ...change });
  const take = (step: string, nowMs: number, change?: Partial<Payment>) => decide(parcels, parcel(change),
    { step, actor: { address: buyer, as: null }, input: undefined }, nowMs);

  test('is refused because the clock decides first, unless its rule says otherwise', () => {
    expect(take('open', NOW)).toMatchObject({ kind: 'apply', decision: { step: 'clock', to: 'lost', isDue: true },
      refusal: { code: 'invalid_state' } });
    expect(take('open', NOW - 1)).toMatchObject({ kind: 'apply', decision: { step: 'open', to: 'kept', isDue: false }, refusal: null });
  });

  test('is refused and the clock waits, where its rule says so', () => {
    const refusal = { code: 'invalid_state', message: 'The time of this parcel is up, and then it is not possible to give it up.' };
    expect(take('giveUp', NOW)).toEqual({ kind: 'refuse', refusal });
    expect(take('giveUp', NOW - 1)).toMatchObject({ kind: 'apply', decision: { to: 'back', isDue: false } });
    expect(take('giveUp', NOW,
      { state: 'lost' })).toMatchObject({ refusal: { message: 'The parcel is lost, and then it is not possible to give it up.' } });
  });

  test.each([NOW - 1, NOW, NOW + 1e12])('is allowed at any time where its rule says so (%i)', (nowMs) => {
    expect(take('complain', nowMs)).toMatchObject({ kind: 'apply', decision: { step: 'complain', to: 'back', isDue: null },
      refusal: null });
  });

  test('whoever is first with a payment without a payee becomes the payee, and is paid', () => {
    const finder = { step: 'find', actor: { address: stranger, as: null }, input: undefined };
    expect(decide(parcels, parcel({ seller: null }), finder, NOW - 1)).toMatchObject({
      decision: { role: 'seller', by: stranger, seller: stranger, moves: [{ move: 'pay', to: stranger, amountMicros: 'rest' }] },
    });
    expect(decide(parcels, parcel({ seller: null }), { ...finder, actor: { address: arbiter, as: 'seller' } },
      NOW - 1)).toMatchObject({ refusal: { code: 'unauthorized' } });
  });
});

test('the roles there are', () => expect(roles).toEqual(['buyer', 'seller', 'arbiter', 'platform', 'clock']));
