/**
 * Every kind of payment on the engine. A new one is a table of rules, a workflow, routes, and a line here (docs/a-new-kind-of-payment.md).
 */
import { cardRules } from '../domain/card.ts';
import { escrowRules } from '../domain/escrow.ts';
import { multistepRules } from '../domain/multistep.ts';
import { sessionRules } from '../domain/session.ts';
import { streamRules } from '../domain/stream.ts';
import type { PaymentKind } from './kind.ts';

export const escrowKind: PaymentKind = { rules: escrowRules, workflow: 'escrow', queue: 'escrow', id: 'escrow' };
export const sessionKind: PaymentKind = { rules: sessionRules, workflow: 'gatewaySession', queue: 'gateway', id: 'gatewaySession' };
export const cardKind: PaymentKind = { rules: cardRules, workflow: 'virtualCard', queue: 'card', id: 'card' };
export const multistepKind: PaymentKind = {
  rules: multistepRules, workflow: 'multistepEscrow', queue: 'multistep', id: 'multistepEscrow',
};
export const streamKind: PaymentKind = { rules: streamRules, workflow: 'stream', queue: 'stream', id: 'stream' };

export const paymentKinds: readonly PaymentKind[] = [sessionKind, escrowKind, cardKind, multistepKind, streamKind];
