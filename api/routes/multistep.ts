/** Multistep escrow: make one, confirm a step, take the rest back, read. Its workflow takes the steps; the rules: domain/multistep.ts. */
import { z } from 'zod';
import { SuretyError, type ErrorCode } from '../../domain/errors.ts';
import { formatMicros } from '../../domain/money.ts';
import { checkPlan, type MultistepPayment, type MultistepTerms, type PlannedStep } from '../../domain/multistep.ts';
import type { Payment } from '../../domain/payment.ts';
import { multistepKind } from '../../payments/kinds.ts';
import type { RouteDeps } from '../deps.ts';
import { byAgent, readRoutes, sayingPrice, shownAs, type Reading } from '../routing/payment-route.ts';
import { idParams } from '../wire/fields.ts';
import { route, type Route } from '../routing/route.ts';
import { confirmExample, createExample, listExample, oneExample, refundExample } from '../wire/examples/multistep.ts';
import { confirmBody, createBody, multistepOut, showMultistep } from '../wire/multistep.ts';

/** Each of them with up to a hundred steps. */
const PAGE_MAX = 50;

const escrowAnswer = z.object({ escrow: multistepOut });

const stepErrors: readonly ErrorCode[] = ['not_found', 'unauthorized', 'invalid_state', 'idempotency_mismatch', 'busy', 'unavailable'];
/** Of a request that names what the plan does not have, or had. */
const planErrors: readonly ErrorCode[] = ['step_out_of_range', 'duplicate_step', 'step_mismatch'];

export function multistepRoutes(deps: RouteDeps): Route[] {
  return [createRoute(deps), ...stepRoutes(deps), ...readRoutes(deps, reading)];
}

function createRoute({ payments, prisma }: RouteDeps): Route {
  return route({
    method: 'post', path: '/v1/escrow/multistep', aliases: ['/v1/multistep-escrows', '/v1/escrows/multistep'], access: 'agent',
    tag: 'Multistep escrow', movesMoney: true,
    summary: 'Holds the money of a plan of steps. Each seller is paid when you confirm its step; '
      + 'what you never confirm comes back at the deadline.',
    body: createBody, answer: escrowAnswer, answerStatus: 201, example: createExample,
    errors: ['amount_exceeds_total', 'self_trade', 'agent_not_found', 'insufficient_balance', 'invalid_amount', 'unknown_currency',
      'idempotency_mismatch', 'busy', 'unavailable'],
    handler: async ({ caller: { address: buyer, tenantId }, body, idempotencyClaim }) => {
      const { totalAmount: amountMicros, expiresIn: expiresInMs } = body;
      const steps = body.plannedSteps.map((step) => ({ seller: step.sellerAddr, amountMicros: step.amount }));
      checkPlan(buyer, { totalMicros: amountMicros, steps });
      const [first, ...others] = new Set(steps.map(({ seller }) => seller));
      const terms: MultistepTerms = { expiresInMs };
      const wish = {
        // Whom all of it is for, where that is one.
        buyer, seller: others.length === 0 ? (first ?? null) : null, arbiter: null, tenantId, asset: body.currency, amountMicros, terms,
        lookup: null,
        parts: steps.map((step) => ({ payee: step.seller, amountMicros: step.amountMicros.toString() })),
      };
      const outcome = await payments.open(multistepKind, wish, idempotencyClaim(), () => sellersAreKnown(prisma, steps))
        .catch(sayingPrice(amountMicros, body.currency));
      return { status: 201, ...(await shownAs(reading, outcome)) };
    },
  });
}

/** @throws SuretyError agent_not_found, with the first seller of the plan that is no agent, or no longer. */
async function sellersAreKnown(prisma: RouteDeps['prisma'], steps: readonly PlannedStep[]): Promise<void> {
  const sellers = steps.map(({ seller }) => seller);
  const agents = await prisma.agent.findMany({ where: { address: { in: sellers }, deletedAt: null }, select: { address: true } });
  const known = new Set(agents.map(({ address }) => address));
  const stranger = sellers.findIndex((seller) => !known.has(seller));
  if (stranger === -1) return;
  throw new SuretyError('agent_not_found', `There is no agent ${sellers[stranger] ?? ''}, the seller of step ${stranger}.`);
}

function stepRoutes({ payments }: RouteDeps): Route[] {
  return [
    route({
      method: 'post', path: '/v1/escrow/multistep/:id/confirm-step', access: 'agent', tag: 'Multistep escrow', movesMoney: true,
      aliases: ['/v1/multistep-escrows/:id/steps', '/v1/multistep-escrows/:id/confirm-step', '/v1/escrows/multistep/:id/confirm-step'],
      summary: 'Pays one step to its seller; the last one completes the escrow. For the buyer.',
      params: idParams, body: confirmBody, answer: escrowAnswer, example: confirmExample,
      errors: [...stepErrors, ...planErrors, 'invalid_amount'],
      handler: async ({ caller, params: { id }, body, idempotencyClaim }) => {
        const input = { ...body, amount: formatMicros(body.amount) };
        const order = { id, step: 'confirm-step', actor: byAgent(caller), input, claim: idempotencyClaim() };
        return shownAs(reading, await payments.step(multistepKind, order).catch(sayingNothingMoved));
      },
    }),
    route({
      method: 'post', path: '/v1/escrow/multistep/:id/refund', access: 'agent', tag: 'Multistep escrow', movesMoney: true,
      aliases: ['/v1/multistep-escrows/:id/abort', '/v1/multistep-escrows/:id/refund', '/v1/escrows/multistep/:id/refund'],
      summary: 'Gives back what was not confirmed and ends the escrow. For the buyer.',
      params: idParams, answer: escrowAnswer, example: refundExample, errors: stepErrors,
      handler: async ({ caller, params: { id }, idempotencyClaim }) => {
        const order = { id, step: 'refund', actor: byAgent(caller), input: {}, claim: idempotencyClaim() };
        return shownAs(reading, await payments.step(multistepKind, order));
      },
    }),
  ];
}

/** They are about the request and not about the escrow's state: its money is where it was. */
function sayingNothingMoved(error: unknown): never {
  if (!(error instanceof SuretyError) || !planErrors.includes(error.code)) throw error;
  throw new SuretyError(error.code, error.message, { cause: error });
}

const reading: Reading = {
  kind: multistepKind, tag: 'Multistep escrow', path: '/v1/escrow/multistep/:id',
  aliases: ['/v1/multistep-escrows/:id', '/v1/escrows/multistep/:id'], names: ['escrow', 'escrows'], list: 'multistep-escrows',
  pageMax: PAGE_MAX, schema: multistepOut,
  // A payment of this kind has the terms and details of this kind: nobody else writes them.
  show: (payment: Payment) => showMultistep(payment as MultistepPayment),
  summaries: [
    'One multistep escrow with its plan, for its buyer, its sellers and the admin.',
    'Your multistep escrows, as buyer or as seller of a step, newest first.',
  ],
  examples: [oneExample, listExample], only: 'Only the buyer and the sellers of this escrow may read it.',
};
