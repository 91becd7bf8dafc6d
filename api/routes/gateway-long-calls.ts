/** What sellers and buyers do with long calls; `POST /v1/gateway/proxy` and `/call` begin them. */
import { z } from 'zod';
import type { ErrorCode } from '../../domain/errors.ts';
import { SuretyError } from '../../domain/errors.ts';
import { NOTE_MAX, type LongCall, type LongCallActor, type LongCallStep } from '../../domain/long-call.ts';
import { readLongCallInput } from '../../domain/long-call-input.ts';
import type { RouteDeps } from '../deps.ts';
import { cancelCallExample, completeExample, failExample, progressExample } from '../wire/examples/long-call.ts';
import { idParams, jsonObject, paragraph } from '../wire/fields.ts';
import { longCallOut, showLongCall } from '../wire/long-call.ts';
import { route, type Answer, type Caller, type Route } from '../routing/route.ts';

const answer = z.object({ call: longCallOut });
const errors: readonly ErrorCode[] = ['not_found', 'invalid_state', 'busy', 'unavailable'];
const query = z.object({
  token: z.string().max(200).optional().describe('That of the link which came with the call; then without a key.'),
});

export function gatewayLongCallRoutes({ longCalls }: RouteDeps): Route[] {
  /** Takes a step and shows the call. */
  async function step(name: LongCallStep, id: string, body: unknown, actor: LongCallActor): Promise<Answer> {
    const { call, replayed } = await longCalls.step(id, readLongCallInput(name, body), actor);
    return { body: { call: showLongCall(call) }, ...(replayed ? { headers: { 'Idempotent-Replayed': 'true' } } : {}) };
  }

  /** Whoever holds the link acts for the seller it was given to. @throws SuretyError not_found, unauthorized. */
  async function sellerOf(id: string, caller: Caller | null, token: string | undefined): Promise<LongCallActor> {
    if (caller !== null) return { address: caller.address };
    const call: LongCall | null = await longCalls.read(id);
    if (call !== null && longCalls.isLinkOf(call, token ?? '')) return { address: call.seller };
    throw new SuretyError('unauthorized', 'The link is none of this call, or its time is up.', {
      recovery: 'Use the link as it came with the call, until its deadline, or an API key of the seller.' });
  }

  const common = { method: 'post', params: idParams, tag: 'Gateway', answer, errors } as const;
  return [
    route({
      ...common, path: '/v1/gateway/calls/:id/complete', access: 'agent_or_link', query, movesMoney: true, example: completeExample,
      summary: 'The seller delivers a long call and is paid. The same result again changes nothing.',
      description: 'With an API key of the seller, or with the link that came with the call (`X-Payment-Complete`).',
      body: z.object({ result: jsonObject.nullish().describe('What the buyer gets.') }),
      handler: async ({ params: { id }, caller, query: { token }, body }) => step('complete', id, body, await sellerOf(id, caller, token)),
    }),
    route({
      ...common, path: '/v1/gateway/calls/:id/fail', access: 'agent_or_link', query, movesMoney: true, example: failExample,
      summary: 'The seller gives a long call up: the money goes back to the buyer.',
      body: z.object({ reason: paragraph(NOTE_MAX).optional().describe('For the buyer to read.') }),
      handler: async ({ params: { id }, caller, query: { token }, body }) => step('fail', id, body, await sellerOf(id, caller, token)),
    }),
    route({
      ...common, path: '/v1/gateway/calls/:id/progress', access: 'agent_or_link', query, example: progressExample,
      summary: 'The seller says that it is at work, and how far. From then on the buyer can no longer cancel.',
      body: z.object({ percent: z.number().int().min(0).max(100).optional(), note: paragraph(NOTE_MAX).optional() }),
      handler: async ({ params: { id }, caller, query: { token }, body }) => step('progress', id, body, await sellerOf(id, caller, token)),
    }),
    route({
      ...common, path: '/v1/gateway/calls/:id/cancel', access: 'agent', movesMoney: true, example: cancelCallExample,
      summary: 'The buyer cancels a long call whose seller has not begun: the money comes back.',
      handler: ({ params: { id }, caller }) => step('cancel', id, {}, { address: caller.address }),
    }),
  ];
}
