/** Escrow: make one, take a step, read. Its workflow takes the steps; the rules are those of domain/escrow.ts. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import type { EscrowPayment, EscrowStep, EscrowTerms } from '../../domain/escrow.ts';
import type { IdempotencyClaim } from '../../domain/gateway.ts';
import { formatMicros } from '../../domain/money.ts';
import type { Actor, Payment } from '../../domain/payment.ts';
import { escrowKind } from '../../payments/kinds.ts';
import type { RouteDeps } from '../deps.ts';
import { byAgent, readRoutes, sayingPrice, shownAs, wrongRole, type Reading } from '../routing/payment-route.ts';
import { arbitrateBody, createBody, disputeBody, escrowOut, evidenceBody, resolveBody, showEscrow,
  type Evidence } from '../wire/escrow.ts';
import { createExample, listExample, oneExample, stepExamples } from '../wire/examples/escrow.ts';
import { idParams } from '../wire/fields.ts';
import { route, type Answer, type Route, type RouteSpec } from '../routing/route.ts';

const oneEscrow = z.object({ escrow: escrowOut });

export function escrowRoutes(deps: RouteDeps): Route[] {
  return [createRoute(deps), ...plainStepRoutes(deps), ...disputeRoutes(deps), ...rulingRoutes(deps), ...readRoutes(deps, readingOf(deps))];
}

/** The README of the first system says `/escrows`, its code `/escrow`. */
const both = (rest: string) => ({ path: `/v1/escrow${rest}`, aliases: [`/v1/escrows${rest}`] });

function createRoute(deps: RouteDeps): Route {
  return route({
    method: 'post', ...both(''), access: 'agent', tag: 'Escrow', movesMoney: true,
    summary: 'Sets money aside for a seller until you are content, the time is up, or somebody has ruled.',
    body: createBody, answer: oneEscrow, answerStatus: 201,
    errors: ['insufficient_balance', 'unauthorized', 'self_trade', 'validation_error', 'invalid_amount', 'unknown_currency',
      'invalid_address', 'idempotency_mismatch', 'unavailable'],
    example: createExample,
    handler: async ({ caller, body, idempotencyClaim }) => {
      if (body.buyerAddr !== caller.address) throw wrongRole('You can only set your own money aside: buyerAddr must be your address.');
      if (body.sellerAddr === caller.address) throw new SuretyError('self_trade', 'An agent cannot hold money for itself.');
      const terms: EscrowTerms = {
        serviceId: body.serviceId ?? null, deliveryMs: body.autoRelease, reviewMs: body.reviewWindow, rulingMs: body.rulingWindow,
        buyerMayCancel: body.buyerMayCancel,
      };
      const wish = {
        buyer: caller.address, seller: body.sellerAddr, arbiter: body.arbitratorAddr ?? null, tenantId: caller.tenantId,
        asset: body.currency, amountMicros: body.amount, terms, lookup: null,
      };
      const outcome = await deps.payments.open(escrowKind, wish, idempotencyClaim()).catch(sayingPrice(body.amount, body.currency));
      return { status: 201, ...(await shownAs(readingOf(deps), outcome)) };
    },
  });
}

const stepErrors = ['not_found', 'unauthorized', 'invalid_state', 'idempotency_mismatch', 'unavailable'] as const;

/** What the routes of all steps have in common. */
function stepOf(step: EscrowStep): Pick<RouteSpec, 'method' | 'path' | 'aliases' | 'tag' | 'movesMoney' | 'answer'
    | 'example'> & { readonly params: typeof idParams } {
  return { method: 'post', ...both(`/:id/${step}`), tag: 'Escrow', movesMoney: true, answer: oneEscrow,
    example: stepExamples[step], params: idParams };
}

/** Steps that need nothing said. */
function plainStepRoutes(deps: RouteDeps): Route[] {
  const steps = [
    ['deliver', 'The seller has delivered; the buyer has the review window to object.', []],
    ['confirm', 'The buyer is content: the seller is paid.', []],
    ['decline', 'The seller does not want the money, or gives it back: it returns to the buyer.', []],
    ['cancel', 'The buyer takes the money back before anything was delivered, where the terms allow it.', ['forbidden']],
  ] as const;
  return steps.map(([step, summary, more]) => route({
    ...stepOf(step), access: 'agent', summary, errors: [...stepErrors, ...more],
    handler: ({ params, caller, idempotencyClaim }) =>
      take(deps, params.id, { step, actor: byAgent(caller), input: {}, claim: idempotencyClaim() }),
  }));
}

function disputeRoutes(deps: RouteDeps): Route[] {
  return [
    route({
      ...stepOf('dispute'), access: 'agent',
      summary: 'The buyer objects: the money stays locked until a ruling, or until the ruling window closes and it returns.',
      body: disputeBody, errors: [...stepErrors, 'validation_error'],
      handler: ({ params, caller, body, idempotencyClaim }) =>
        take(deps, params.id, { step: 'dispute', actor: byAgent(caller), input: body, claim: idempotencyClaim() }),
    }),
    route({
      ...stepOf('evidence'), access: 'agent', summary: 'A party says something to the dispute; at most 20 entries each.',
      body: evidenceBody, errors: [...stepErrors, 'validation_error', 'evidence_limit'],
      handler: ({ params, caller, body, idempotencyClaim }) =>
        take(deps, params.id, { step: 'evidence', actor: byAgent(caller), input: body, claim: idempotencyClaim() }),
    }),
    route({
      ...stepOf('arbitrate'), access: 'agent', summary: 'A party calls in the arbiter, who has the ruling window from now on.',
      body: arbitrateBody, errors: [...stepErrors, 'invalid_address'],
      handler: ({ params, caller, body, idempotencyClaim }) =>
        take(deps, params.id, { step: 'arbitrate', actor: byAgent(caller), input: body, claim: idempotencyClaim() }),
    }),
  ];
}

const platform: Actor = { address: null, as: 'platform' };

function rulingRoutes(deps: RouteDeps): Route[] {
  const ruling = ({ resolution, amounts: [amount], reason }: z.output<typeof resolveBody>) => ({
    resolution, ...(amount === undefined ? {} : { releaseAmount: formatMicros(amount) }), ...(reason === undefined ? {} : { reason }),
  });
  const errors = [...stepErrors, 'validation_error', 'invalid_amount'] as const;
  return [
    route({
      ...stepOf('resolve'), access: 'agent_or_admin',
      summary: 'The arbiter rules: all to the seller, all back to the buyer, or a part to each. Without a named arbiter the admin does.',
      body: resolveBody, errors,
      handler: ({ params, caller, isAdmin, body, idempotencyClaim }) =>
        take(deps, params.id, {
          step: 'resolve', actor: { address: caller?.address ?? null, as: isAdmin ? 'platform' : null }, input: ruling(body),
          claim: idempotencyClaim(),
        }),
    }),
    route({
      ...stepOf('resolve'), path: '/v1/admin/escrow/:id/resolve', aliases: ['/v1/admin/escrows/:id/resolve'], access: 'admin', tag: 'Admin',
      summary: 'The platform rules on an escrow for which no arbiter was named.', body: resolveBody, errors,
      handler: ({ params, body, idempotencyClaim }) =>
        take(deps, params.id, { step: 'resolve', actor: platform, input: ruling(body), claim: idempotencyClaim() }),
    }),
    route({
      method: 'post', path: '/v1/admin/escrow/force-close-expired',
      aliases: ['/v1/admin/escrows/force-close-expired', '/v1/admin/escrow/force-close', '/v1/admin/escrows/force-close'],
      access: 'admin', tag: 'Admin', movesMoney: true,
      summary: 'Ends every escrow whose deadline has passed, without waiting for its workflow or the sweeper.',
      answer: z.object({ closedCount: z.number().int() }), errors: ['unavailable'],
      handler: async () => ({ body: { closedCount: await deps.payments.closeExpired(escrowKind) } }),
    }),
  ];
}

/** Without evidence in lists. */
const readingOf = ({ payments }: RouteDeps): Reading => ({
  kind: escrowKind, tag: 'Escrow', ...both('/:id'), names: ['escrow', 'escrows'], schema: escrowOut,
  show: (payment) => showEscrow(asEscrow(payment)),
  async showOne(payment) {
    const escrow = asEscrow(payment);
    // There is evidence only where there was a dispute.
    return showEscrow(escrow, escrow.details.disputeReason === undefined ? [] : evidenceAmong(await payments.eventsOf(escrow.id)));
  },
  summaries: [
    'One escrow with its evidence, for its parties and its arbiter.',
    'Your escrows as buyer, seller or arbiter, newest first, without their evidence.',
  ],
  examples: [oneExample, listExample], only: 'Only the parties of an escrow and its arbiter may see it.',
});

/** A payment of this kind has the terms and details of this kind: nobody else writes them. */
const asEscrow = (payment: Payment): EscrowPayment => payment as EscrowPayment;

interface Order { readonly step: EscrowStep; readonly actor: Actor; readonly input: unknown; readonly claim: IdempotencyClaim | null }

async function take(deps: RouteDeps, id: string, order: Order): Promise<Answer> {
  return shownAs(readingOf(deps), await deps.payments.step(escrowKind, { id, ...order }));
}

/** The reason of the dispute is the first piece. */
function evidenceAmong(events: Awaited<ReturnType<RouteDeps['payments']['eventsOf']>>): Evidence[] {
  return events.filter(({ step }) => step === 'dispute' || step === 'evidence')
    .map(({ by, note, atMs }) => ({ submittedBy: by, content: note ?? '', submittedAtMs: atMs }));
}
