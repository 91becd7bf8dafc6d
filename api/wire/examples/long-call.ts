/** One long call in the docs, from its acceptance to its end. */
import type { LongCall } from '../../../domain/long-call.ts';
import { parseAmount } from '../../../domain/money.ts';
import { showAccepted, showLongCall } from '../long-call.ts';
import { at, buyer, callId, digits, seller, serviceId } from './cast.ts';

const asking: LongCall = {
  id: callId, sessionId: `gw_${digits}`, buyer, seller, serviceId, serviceName: 'Film studio', workflowId: `gateway-call-${callId}`,
  state: 'asking', version: 1, priceMicros: parseAmount('2.50'), deadline: at(600), askedAt: null, begunAt: null, percent: null, note: null,
  errorCode: null, errorMessage: null,
};
const begun: LongCall = { ...asking, state: 'begun', version: 4, askedAt: at(0), begunAt: at(0), percent: 40,
  note: 'Rendering scene 2 of 5' };

export const acceptedExample = showAccepted(asking, 'https://surety.example');
export const completeExample = { body: { result: { film: 'https://films.example/42' } },
  answer: { call: showLongCall({ ...begun, state: 'settled', version: 5 }) } };
export const progressExample = { body: { percent: 40, note: 'Rendering scene 2 of 5' }, answer: { call: showLongCall(begun) } };
export const failExample = { body: { reason: 'The script cannot be filmed.' }, answer: { call: showLongCall({ ...begun, state: 'released',
  version: 5, errorCode: 'proxy_failed', errorMessage: 'Film studio gave the call up: The script cannot be filmed.' }) } };
export const cancelCallExample = { body: {}, answer: { call: showLongCall({ ...asking, state: 'released', version: 2, askedAt: at(0),
  errorCode: 'proxy_failed', errorMessage: 'The buyer cancelled the call before its seller began.' }) } };
