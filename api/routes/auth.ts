/** API keys, and the proof that an address is yours. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import type { KeyRecord } from '../../registry/keys.ts';
import type { RouteDeps } from '../deps.ts';
import { cutPage, listAnswer, pagingOut } from '../routing/paging.ts';
import { route, type Route } from '../routing/route.ts';
import { address, cursor, limit, line, timeIf, timeOut, writeCursor } from '../wire/fields.ts';

/** The answer to a challenge, as registration and recovery take it. */
export const ownershipProof = z.strictObject({
  challengeId: z.string().regex(/^[a-z0-9_]{1,64}$/, 'is not the id of a challenge'),
  signature: z.string().min(1).max(200)
    .meta({ description: 'EIP-191 signature of the message: 65 bytes in hex, with or without 0x; v may be 0, 1, 27 or 28.' }),
});

const shownOnce = 'Store this key now; it is not shown again.';
const issuedOut = z.object({ apiKey: z.string(), keyId: z.string(), name: z.string(), warning: z.string() });
const keyOut = z.object({ id: z.string(), name: z.string(), createdAt: timeOut, lastUsed: timeOut.optional(), revoked: z.boolean() });
function showKey({ id, name, createdAt, lastUsedAt, revoked }: KeyRecord): z.input<typeof keyOut> {
  return { id, name, createdAt: createdAt.toISOString(), ...timeIf('lastUsed', lastUsedAt?.getTime()), revoked };
}
const keyParams = z.object({ keyId: z.string() });

export function authRoutes(deps: RouteDeps): Route[] {
  return [infoRoute(), ...ownershipRoutes(deps), ...keyRoutes(deps)];
}

function infoRoute(): Route {
  const body = {
    type: 'api_key',
    header: 'Authorization: Bearer sk_…',
    altHeader: 'X-API-Key: sk_…',
    note: 'A key belongs to one agent. It is shown once, at registration or when it is issued.',
    publicEndpoints: ['GET /v1/agents', 'GET /v1/agents/:address', 'GET /v1/services', 'GET /v1/reputation', 'GET /v1/network/stats',
      'POST /v1/auth/challenge', 'POST /v1/agents'],
    protectedEndpoints: ['POST /v1/agents/:address/services', 'GET /v1/agents/:address/balance', 'GET /v1/agents/:address/ledger',
      'POST /v1/gateway/sessions', 'POST /v1/gateway/proxy', 'GET /v1/auth/keys'],
  };
  return route({
    method: 'get', path: '/v1/auth/info', access: 'public', tag: 'Keys', cacheSecs: 60,
    summary: 'How to authenticate.',
    answer: z.object({ type: z.string(), header: z.string(), altHeader: z.string(), note: z.string(), publicEndpoints: z.array(z.string()),
      protectedEndpoints: z.array(z.string()) }),
    example: { answer: body },
    handler: () => ({ body }),
  });
}

function ownershipRoutes({ agents, ownership }: RouteDeps): Route[] {
  return [
    route({
      method: 'post', path: '/v1/auth/challenge', access: 'public', tag: 'Keys',
      summary: 'A message to sign with the key of an address, as proof of control; good once, for ten minutes.',
      body: z.object({ address }),
      answer: z.object({ challengeId: z.string(),
        message: z.string().meta({ examples: ['Surety: prove that you control this address.\n\n…'] }),
        expiresAt: timeOut }), answerStatus: 201,
      errors: ['invalid_address'],
      handler: async ({ body }) => {
        const { challengeId, message, expiresAt } = await ownership.challenge(body.address);
        return { status: 201, body: { challengeId, message, expiresAt: expiresAt.toISOString() } };
      },
    }),
    route({
      method: 'post', path: '/v1/auth/recover', access: 'public', tag: 'Keys',
      summary: 'A new API key for whoever proves control of a registered address.',
      description: 'Keys of a claimant who never proved control end at once. With `revokeOthers` all other keys end, '
        + 'for the case that one was stolen.',
      body: z.object({ address, proof: ownershipProof, name: line(100).default('Recovered key'),
        revokeOthers: z.boolean().default(false) }),
      answer: issuedOut, answerStatus: 201,
      errors: ['proof_required', 'invalid_signature', 'agent_not_found', 'invalid_address'],
      handler: async ({ body }) => {
        const key = await agents.recover(body.address, body.proof, { name: body.name, revokeOthers: body.revokeOthers });
        return { status: 201, body: { apiKey: key.secret, keyId: key.keyId, name: key.name, warning: shownOnce } };
      },
    }),
  ];
}

function keyRoutes({ keys }: RouteDeps): Route[] {
  return [
    route({
      method: 'get', path: '/v1/auth/me', access: 'agent', tag: 'Keys',
      summary: 'The agent and the key of this request.',
      answer: z.object({ agentAddress: z.string(), keyId: z.string(), keyName: z.string(), createdAt: timeOut,
        lastUsed: timeOut.optional() }),
      handler: async ({ caller }) => {
        const record = await keys.find(caller.address, caller.keyId);
        const lastUsed = record?.lastUsedAt ?? null;
        return {
          body: {
            agentAddress: caller.address, keyId: caller.keyId, keyName: caller.keyName, createdAt: caller.createdAt.toISOString(),
            ...(lastUsed === null ? {} : { lastUsed: lastUsed.toISOString() }),
          },
        };
      },
    }),
    route({
      method: 'get', path: '/v1/auth/keys', access: 'agent', tag: 'Keys',
      summary: 'Your keys, newest first, revoked ones included.', query: z.object({ limit: limit(200, 100), cursor }),
      answer: z.object({ keys: z.array(keyOut), ...pagingOut }), errors: ['invalid_cursor'],
      handler: async ({ caller, query }) => {
        const rows = await keys.list(caller.address, { after: query.cursor ?? null, limit: query.limit + 1 });
        return listAnswer(cutPage(rows, query.limit),
          { name: 'keys', show: showKey, cursorAfter: (last) => writeCursor(last.createdAt, last.id) });
      },
    }),
    route({
      method: 'post', path: '/v1/auth/keys', access: 'agent', tag: 'Keys',
      summary: 'A further key for your agent.',
      body: z.object({ name: line(100).default('Additional key') }),
      answer: issuedOut, answerStatus: 201,
      handler: async ({ caller, body }) => {
        const key = await keys.create(caller.address, body.name);
        return { status: 201, body: { apiKey: key.secret, keyId: key.keyId, name: key.name, warning: shownOnce } };
      },
    }),
    route({
      method: 'delete', path: '/v1/auth/keys/:keyId', access: 'agent', tag: 'Keys',
      summary: 'Ends one of your other keys; a second time changes nothing.',
      params: keyParams,
      answer: z.object({ message: z.string().meta({ examples: ['The key is revoked.'] }), keyId: z.string() }),
      errors: ['cannot_revoke_current', 'key_not_found'],
      handler: async ({ caller, params }) => {
        await keys.revoke(caller, params.keyId);
        return { body: { message: 'The key is revoked.', keyId: params.keyId } };
      },
    }),
    route({
      method: 'post', path: '/v1/auth/keys/:keyId/regenerate', access: 'agent', tag: 'Keys',
      summary: 'Replaces one of your keys, the one in use included: the old one ends as the new one begins.',
      params: keyParams,
      // Clients may send a body here; it says nothing.
      body: z.looseObject({}),
      answer: z.object({ apiKey: z.string(), keyId: z.string(), oldKeyId: z.string(), warning: z.string() }),
      errors: ['key_not_found', 'invalid_state'],
      handler: async ({ caller, params }) => {
        const key = await keys.regenerate(caller.address, params.keyId);
        return { body: { apiKey: key.secret, keyId: key.keyId, oldKeyId: params.keyId, warning: shownOnce } };
      },
    }),
  ];
}

/** For routes that look an agent up. @throws SuretyError `not_found`, the code clients of the first system know. */
export function unknownAgent(): SuretyError {
  return new SuretyError('not_found', 'There is no agent with this address.', { recovery: 'Check the address.' });
}
