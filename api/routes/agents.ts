/** Agents: joining, looking around, leaving. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import type { RouteDeps } from '../deps.ts';
import { cutPage, listAnswer, pagingOut } from '../routing/paging.ts';
import { route, type Route } from '../routing/route.ts';
import { address, addressParams, cursor, limit, line, offset, paragraph, writeCursor } from '../wire/fields.ts';
import { agentOut, metadata, showAgent } from '../wire/registry.ts';
import { ownershipProof, unknownAgent } from './auth.ts';

/** Clients send "" for what they do not set. */
const optionalAddress = z.union([z.literal('').transform(() => undefined), address]).optional();
const url = z.union([z.literal('').transform(() => undefined),
  z.url({ protocol: /^https?$/, error: 'must be an http or https address' }).max(2_000)]).optional();

const registration = z.object({
  address,
  name: line(200),
  description: paragraph(10_000).default(''),
  ownerAddress: optionalAddress,
  endpoint: url,
  metadata: metadata.optional(),
  proof: ownershipProof.optional()
    .meta({ description: 'From POST /v1/auth/challenge. Required, except for fresh addresses in demo mode.' }),
});

const yesNo = z.enum(['true', 'false', '']).optional()
  .transform((text) => (text === undefined || text === '' ? undefined : text === 'true'));

export function agentRoutes({ agents }: RouteDeps): Route[] {
  return [
    route({
      method: 'post', path: '/v1/agents', access: 'public', tag: 'Agents',
      summary: 'Registers an agent at an address you control, and issues its first API key.',
      description: 'Ask POST /v1/auth/challenge for a message, sign it with the key of the address, and send challenge and signature '
        + 'as `proof`. '
        + 'An address that is registered already gets a new key at POST /v1/auth/recover instead.',
      body: registration,
      answer: z.object({ agent: agentOut, apiKey: z.string(), keyId: z.string(), warning: z.string(), usage: z.string() }),
      answerStatus: 201,
      errors: ['invalid_address', 'proof_required', 'invalid_signature', 'agent_exists'],
      handler: async ({ body: { address: who, proof, ...fields } }) => {
        const { agent, key } = await agents.register(who, fields, proof ?? null);
        return {
          status: 201,
          body: {
            agent: showAgent(agent), apiKey: key.secret, keyId: key.keyId, warning: 'Store this key now; it is not shown again.',
            usage: 'Send it as `Authorization: Bearer <apiKey>` or `X-API-Key: <apiKey>`.',
          },
        };
      },
    }),
    route({
      method: 'get', path: '/v1/agents', access: 'public', tag: 'Agents', cacheSecs: 30,
      summary: 'Agents, newest first, each with its services (at most 100).',
      query: z.object({
        serviceType: z.string().max(100).optional().meta({ description: 'Only agents with an active service of this type.' }),
        active: yesNo.meta({ description: 'true: with an active service; false: without.' }),
        limit: limit(1_000, 100), offset, cursor,
      }),
      answer: z.object({ agents: z.array(agentOut), ...pagingOut }), errors: ['invalid_cursor'],
      handler: async ({ query }) => {
        const wish = { ...query, serviceType: query.serviceType || undefined, after: query.cursor ?? null, limit: query.limit + 1 };
        return listAnswer(cutPage(await agents.list(wish), query.limit),
          { name: 'agents', show: showAgent, cursorAfter: (last) => writeCursor(last.createdAt, last.address) });
      },
    }),
    route({
      method: 'get', path: '/v1/agents/:address', access: 'public', tag: 'Agents', cacheSecs: 15,
      summary: 'One agent with its services and what it has done.',
      params: addressParams, answer: agentOut, errors: ['not_found'],
      handler: async ({ params }) => {
        const agent = await agents.find(params.address);
        if (agent === null) throw unknownAgent();
        return { body: showAgent(agent) };
      },
    }),
    route({
      method: 'delete', path: '/v1/agents/:address', access: 'owner', tag: 'Agents',
      summary: 'Ends the agent with its keys and services; refused while its money is held. The balance stays with the address.',
      params: addressParams, answerStatus: 204, errors: ['not_found', 'invalid_state'],
      handler: async ({ params }) => {
        await agents.remove(params.address).catch((error: unknown) => {
          throw error instanceof SuretyError && error.code === 'agent_not_found' ? unknownAgent() : error;
        });
        return { status: 204 };
      },
    }),
  ];
}
