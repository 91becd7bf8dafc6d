/** Multistep escrow: a plan of steps held at once, each paid when the buyer confirms it, the rest given back. */
import { z } from 'zod';
import { parseDuration } from '../../domain/duration.ts';
import { SuretyError, type ErrorCode } from '../../domain/errors.ts';
import { formatMicros } from '../../domain/money.ts';
import { multistepBounds, type MultistepAnswer, type MultistepPlan } from '../../domain/multistep.ts';
import type { RouteDeps } from '../deps.ts';
import { confirmExample, createExample, listExample, oneExample, refundExample } from '../wire/examples/multistep.ts';
import { multistepOf, multistepOut, showMultistep } from '../wire/multistep.ts';
import { route, type Answer, type Caller, type Route } from '../routing/route.ts';
import { address, addressParams, amount, cursor, emptyIsAbsent, limit, writeCursor } from '../wire/fields.ts';

const { stepsMax, expiresInMsDefault, expiresInMsMin, expiresInMsMax } = multistepBounds;

const expiresIn = z.string().max(50).transform((text) => parseDuration(text) ?? 0)
  .refine((ms) => ms >= expiresInMsMin && ms <= expiresInMsMax, 'must be a time from 1s to 365d, such as 90s, 1h30m or 2d')
  .meta({ type: 'string', examples: ['24h'] });

const createBody = z.object({
  totalAmount: amount.describe('Held at once; the steps must add up to it.'),
  totalSteps: z.number().int().min(1).max(stepsMax),
  plannedSteps: z.array(z.object({ sellerAddr: address, amount }).strict()).min(1).max(stepsMax)
    .describe('Who is paid how much, in the order of the plan.'),
  expiresIn: z.preprocess(emptyIsAbsent, expiresIn.optional())
    .describe('When the rest goes back by itself, as 90s, 1h30m or 2d; 24h when left out.'),
}).refine(({ totalSteps, plannedSteps }) => plannedSteps.length === totalSteps, { path: ['plannedSteps'],
error: 'must have as many steps as totalSteps says' });

function planOf(body: z.output<typeof createBody>): MultistepPlan {
  return {
    totalMicros: body.totalAmount, expiresInMs: body.expiresIn ?? expiresInMsDefault,
    steps: body.plannedSteps.map((step) => ({ seller: step.sellerAddr, amountMicros: step.amount })),
  };
}

/** However far out it is, it is only a step that the plan does not have: Postgres and JavaScript agree on numbers of this size. */
const stepIndex = z.number().refine(Number.isInteger, 'must be a whole number').meta({ type: 'integer' })
  .transform((index) => Math.min(Math.max(index, -1), stepsMax))
  .describe('Which step of the plan, from 0; in any order.');

const confirmBody = z.object({
  stepIndex,
  sellerAddr: address.describe('As planned.'),
  amount: amount.describe('As planned; `0.1` is `0.10`.'),
});

const escrowParams = z.object({ id: z.string().max(64) });
const escrowAnswer = z.object({ escrow: multistepOut });
const inOrder = { steps: { orderBy: { stepIndex: 'asc' } } } as const;

function answerStep({ escrow, replayed }: MultistepAnswer, status = 200): Answer {
  return { status, body: { escrow: showMultistep(escrow) }, ...(replayed ? { headers: { 'Idempotent-Replayed': 'true' } } : {}) };
}

const stepErrors: readonly ErrorCode[] = ['not_found', 'unauthorized', 'invalid_state', 'idempotency_mismatch',
  'idempotency_in_progress', 'unavailable'];

export function multistepRoutes(deps: RouteDeps): Route[] {
  return [...moneyRoutes(deps), ...readRoutes(deps)];
}

function moneyRoutes({ multistep }: RouteDeps): Route[] {
  return [
    route({
      method: 'post', path: '/v1/escrow/multistep', aliases: ['/v1/multistep-escrows', '/v1/escrows/multistep'], access: 'agent',
      tag: 'Multistep escrow', movesMoney: true,
      summary: 'Holds the money of a plan of steps. Each seller is paid when you confirm its step; what you never confirm comes back at the deadline.',
      body: createBody, answer: escrowAnswer, answerStatus: 201, example: createExample,
      errors: ['amount_exceeds_total', 'self_trade', 'agent_not_found', 'insufficient_balance', 'invalid_amount', 'idempotency_mismatch',
        'idempotency_in_progress', 'unavailable'],
      handler: async ({ caller, body, idempotencyClaim }) => {
        const created = multistep.create(caller, planOf(body), idempotencyClaim()).catch((error: unknown): never => {
          if (!(error instanceof SuretyError) || error.code !== 'insufficient_balance') throw error;
          const price = formatMicros(body.totalAmount);
          throw new SuretyError('insufficient_balance', `There is not enough available money to hold ${price} USDC.`,
            { cause: error, body: { price, currency: 'USDC', amount: price } });
        });
        return answerStep(await created, 201);
      },
    }),
    route({
      method: 'post', path: '/v1/escrow/multistep/:id/confirm-step', access: 'agent', tag: 'Multistep escrow', movesMoney: true,
      aliases: ['/v1/multistep-escrows/:id/steps', '/v1/multistep-escrows/:id/confirm-step', '/v1/escrows/multistep/:id/confirm-step'],
      summary: 'Pays one step to its seller; the last one completes the escrow. For the buyer.',
      params: escrowParams, body: confirmBody, answer: escrowAnswer, example: confirmExample,
      errors: [...stepErrors, 'step_out_of_range', 'duplicate_step', 'step_mismatch', 'invalid_amount'],
      handler: async ({ caller, params, body, idempotencyClaim }) => {
        const step = { stepIndex: body.stepIndex, seller: body.sellerAddr, amountMicros: body.amount };
        return answerStep(await multistep.confirmStep(caller.address, params.id, step, idempotencyClaim()));
      },
    }),
    route({
      method: 'post', path: '/v1/escrow/multistep/:id/refund', access: 'agent', tag: 'Multistep escrow', movesMoney: true,
      aliases: ['/v1/multistep-escrows/:id/abort', '/v1/multistep-escrows/:id/refund', '/v1/escrows/multistep/:id/refund'],
      summary: 'Gives back what was not confirmed and ends the escrow. For the buyer.',
      params: escrowParams, answer: escrowAnswer, example: refundExample, errors: stepErrors,
      handler: async ({ caller, params, idempotencyClaim }) =>
        answerStep(await multistep.refund(caller.address, params.id, idempotencyClaim())),
    }),
  ];
}

function readRoutes({ prisma }: RouteDeps): Route[] {
  return [
    route({
      method: 'get', path: '/v1/escrow/multistep/:id', aliases: ['/v1/multistep-escrows/:id', '/v1/escrows/multistep/:id'],
      access: 'agent_or_admin', tag: 'Multistep escrow',
      summary: 'One multistep escrow with its plan, for its buyer, its sellers and the admin.',
      params: escrowParams, answer: escrowAnswer, example: oneExample, errors: ['not_found', 'unauthorized'],
      handler: async ({ caller, isAdmin, params }) => {
        const row = await prisma.multistepEscrow.findUnique({ where: { id: params.id }, include: inOrder });
        if (row === null) throw new SuretyError('not_found', 'There is no such multistep escrow.');
        if (!isAdmin && !isParty(caller, row)) {
          throw new SuretyError('unauthorized', 'Only the buyer and the sellers of this escrow may read it.',
            { status: 403, recovery: 'Use the API key of one of them.' });
        }
        return { body: { escrow: showMultistep(multistepOf(row)) } };
      },
    }),
    route({
      method: 'get', path: '/v1/agents/:address/multistep-escrows', access: 'owner', tag: 'Multistep escrow',
      summary: 'Your multistep escrows, as buyer or as seller of a step, newest first.',
      params: addressParams, query: z.object({ limit: limit(200, 50), cursor }),
      answer: z.object({ escrows: z.array(multistepOut), count: z.number().int(), has_more: z.boolean(),
        next_cursor: z.string().optional() }), example: listExample,
      handler: async ({ params, query }) => {
        const own = await pageOf(prisma, params.address, query.cursor?.id ?? null, query.limit + 1);
        const rows = await prisma.multistepEscrow.findMany({ where: { id: { in: own } }, include: inOrder,
          orderBy: [{ createdAt: 'desc' }, { id: 'desc' }] });
        const page = rows.slice(0, query.limit);
        const last = page.at(-1);
        const more = rows.length > page.length && last !== undefined;
        return {
          body: { escrows: page.map((row) => showMultistep(multistepOf(row))), count: page.length, has_more: more,
            ...(more ? { next_cursor: writeCursor(last.createdAt, last.id) } : {}) },
        };
      },
    }),
  ];
}

/** Ids after the cursor, newest first. One index for each role: an OR over both tables would read every escrow of the platform. */
async function pageOf(prisma: RouteDeps['prisma'], agent: string, after: string | null, count: number): Promise<string[]> {
  const rows = await prisma.$queryRaw<{ id: string }[]>`
    SELECT id FROM (SELECT id, created_at FROM multistep_escrow WHERE buyer = ${agent}
                    UNION SELECT e.id, e.created_at FROM multistep_step s JOIN multistep_escrow e ON e.id = s.escrow_id WHERE s.seller = ${agent}) own
     WHERE ${after}::text IS NULL OR (created_at, id) < (SELECT c.created_at, c.id FROM multistep_escrow c WHERE c.id = ${after})
     ORDER BY created_at DESC, id DESC LIMIT ${count}`;
  return rows.map(({ id }) => id);
}

function isParty(caller: Caller | null,
    { buyer, steps }: { readonly buyer: string; readonly steps: readonly { readonly seller: string }[] }): boolean {
  return caller !== null && (caller.address === buyer || steps.some(({ seller }) => seller === caller.address));
}
