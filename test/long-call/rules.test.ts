/** The rules of long calls as a table: every state, every step, everybody; what a step may bring; and whom the link is good for. */
import { longCallRefusal, longCallRules, longCallStates, longCallStateRefusal, longCallSteps, type LongCallState,
  type LongCallStep } from '../../domain/long-call.ts';
import { readLongCallInput } from '../../domain/long-call-input.ts';
import { createCallLinks } from '../../platform/call-link.ts';
import { createSellerSigner, generateSellerKey } from '../../platform/seller-signature.ts';
import { addressOf } from '../support/app.ts';

const [buyer, seller, stranger] = [addressOf(1), addressOf(2), addressOf(3)];
/** In which states a step is possible, and where it leads. */
const possible: Readonly<Record<LongCallStep, Partial<Record<LongCallState, LongCallState>>>> = {
  complete: { asking: 'settled', begun: 'settled' }, fail: { asking: 'released', begun: 'released' },
  progress: { asking: 'begun', begun: 'begun' }, cancel: { asking: 'released' },
};
const rows = longCallStates.flatMap((state) => longCallSteps.map((step) => ({ state, step, to: possible[step][state] })));

test.each(rows)('$step while it is $state leads to $to', ({ state, step, to }) => {
  expect(longCallRules.states[state].on[step]).toBe(to);
  const message = expect.stringMatching(/, and then it is not possible to .*\.$/) as string;
  const refusal = to === undefined ? { code: 'invalid_state', message } : null;
  expect(longCallStateRefusal(state, step)).toEqual(refusal);
  const party = step === 'cancel' ? buyer : seller;
  for (const address of [party, party.toUpperCase().replace('0X', '0x'), null]) {
    expect(longCallRefusal({ state, buyer, seller }, step, { address })).toEqual(refusal);
  }
  for (const address of [step === 'cancel' ? seller : buyer, stranger, '']) {
    expect(longCallRefusal({ state, buyer, seller }, step, { address }))
      .toEqual({ code: 'unauthorized', message: longCallRules.steps[step].only });
  }
});

test('nothing leads out of an end, and every other state leads somewhere by itself', () => {
  for (const state of longCallStates) {
    const { end = false, leads, on } = longCallRules.states[state];
    expect([Object.keys(leads).length === 0, Object.keys(on).length === 0]).toEqual([end, end]);
  }
});

test.each<[LongCallStep, unknown, object]>([
  ['complete', { result: { a: [1] } }, { resultJson: '{"a":[1]}' }], ['complete', {}, { resultJson: null }],
  ['complete', undefined, { resultJson: null }], ['fail', { reason: 'no' }, { reason: 'no' }],
  ['fail', 'rubbish', { reason: 'no reason was given' }], ['progress', { percent: 0 }, { percent: 0, note: null }],
  ['progress', { percent: 100, note: 'x' }, { percent: 100, note: 'x' }], ['cancel', null, {}],
])('%s brings %p', (step, sent, expected) => expect(readLongCallInput(step, sent)).toEqual({ step, ...expected }));

test.each<[LongCallStep, unknown]>([
  ['complete', { result: [] }], ['complete', { result: 'x' }], ['fail', { reason: 7 }], ['fail', { reason: 'x'.repeat(501) }],
  ['progress', { percent: -1 }], ['progress', { percent: '5' }], ['progress', { note: 'a\u0000b' }],
])('%s does not bring %p', (step, sent) => expect(() => readLongCallInput(step, sent)).toThrow(/^(result|reason|percent|note): must be/));

test('a link is good for its call and its seller until its time, in every process with the key, and in no other', () => {
  const key = generateSellerKey();
  const links = createCallLinks(createSellerSigner(key));
  const of = { callId: 'call_1', seller };
  const token = links.tokenFor({ ...of, deadlineMs: 10_000 });
  const good = (text: string, who: Partial<typeof of> = {}, now = 9_999): boolean => links.isGood(text, { ...of, ...who }, now);
  expect([good(token), createCallLinks(createSellerSigner(key)).isGood(token, of, 0)]).toEqual([true, true]);
  expect([good(token, {}, 10_000), good(token, { callId: 'call_2' }), good(token, { seller: buyer })]).toEqual([false, false, false]);
  const longer = links.tokenFor({ ...of, deadlineMs: 20_000 });
  for (const wrong of ['', '.', token.slice(1), token.slice(0, -1), `${token}A`, `${longer.split('.')[0]}.${token.split('.')[1]}`]) {
    expect(good(wrong)).toBe(false);
  }
  expect(createCallLinks(createSellerSigner(generateSellerKey())).isGood(token, of, 0)).toBe(false);
});
