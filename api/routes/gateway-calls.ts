/** Paid calls: in a session, or on their own. */
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { SuretyError, type ErrorCode } from '../../domain/errors.ts';
import type { CallAnswer, CallRequest, IdempotencyClaim } from '../../domain/gateway.ts';
import { SERVICE_TYPE } from '../../domain/ids.ts';
import { formatMicros } from '../../domain/money.ts';
import type { RouteDeps } from '../deps.ts';
import { callExample, callOnceExample } from '../wire/examples/gateway.ts';
import { acceptedExample } from '../wire/examples/long-call.ts';
import { callOut, writeCall } from '../wire/gateway.ts';
import { acceptedOut, answerLater } from '../wire/long-call.ts';
import { prefers } from '../routing/prefer.ts';
import { route, type Answer, type Caller, type Route } from '../routing/route.ts';
import { address, amount, emptyIsAbsent, idempotencyKey, jsonObject } from '../wire/fields.ts';


export const callRequestBody = z.object({
  serviceType: z.string().min(1).max(200).describe('What kind of service is wanted, such as `translation`.'),
  params: jsonObject.nullish().describe('Handed to the seller as it is.'),
  maxPrice: z.preprocess(emptyIsAbsent, amount.optional()).describe('Most that this call may cost.'),
  preferAgent: z.preprocess(emptyIsAbsent, address.optional()).describe('This seller is asked first, if it fits.'),
  idempotencyKey: z.preprocess(emptyIsAbsent, idempotencyKey.optional())
    .describe('The same key in the same session answers with the first result and charges nothing.'),
});
const buyBody = callRequestBody.extend({
  async: z.boolean().optional()
    .describe('Do not wait for the seller: answered 202 with where to ask. The same as `Prefer: respond-async`.'),
});

/** @throws SuretyError `no_service` for a type that no service can have. */
export function toCallRequest(body: Pick<z.output<typeof callRequestBody>, 'serviceType' | 'params' | 'maxPrice' | 'preferAgent'>,
    idempotency: IdempotencyClaim | null): CallRequest {
  if (!SERVICE_TYPE.test(body.serviceType)) throw new SuretyError('no_service', 'No service can have a type of this form.');
  return {
    serviceType: body.serviceType, paramsJson: body.params === undefined || body.params === null ? '{}' : JSON.stringify(body.params),
    maxPriceMicros: body.maxPrice ?? null, preferAgent: body.preferAgent ?? null, idempotency,
  };
}

const TOKEN = /^gw_[0-9a-f]{24}$/;

/** The session that pays. @throws SuretyError `unauthorized`. */
export function gatewayToken(req: IncomingMessage): string {
  const token = req.headers['x-gateway-token'];
  if (typeof token !== 'string' || !TOKEN.test(token)) {
    throw new SuretyError('unauthorized', 'The header X-Gateway-Token is missing or is no session.',
      { recovery: 'Open a session with POST /v1/gateway/sessions and send its id as X-Gateway-Token.' });
  }
  return token;
}

/** On token routes a session that cannot be used is a wrong credential: clients of the first system expect 401 there. */
export function asTokenError(error: unknown): unknown {
  if (!(error instanceof SuretyError)) return error;
  if (error.code === 'not_found') return new SuretyError('unauthorized', 'The X-Gateway-Token is no session.',
    { recovery: 'Open a session with POST /v1/gateway/sessions.' });
  if (error.code === 'session_closed' || error.code === 'session_expired') return new SuretyError(error.code, error.message,
    { ...error.extras, status: 401 });
  return error;
}

const waitsNot = 'With `Prefer: respond-async` or `async: true` nobody waits: the call is a workflow of its own, its seller may take as '
  + 'long as it has declared, and `Location` says where to ask.';
const alsoAnswers = { 202: { when: 'Accepted, and not waited for.', answer: acceptedOut, example: acceptedExample } };

function answerCall(answer: CallAnswer): Answer {
  return { body: writeCall(answer), contentType: 'application/json; charset=utf-8',
    ...(answer.replayed ? { headers: { 'Idempotent-Replayed': 'true' } } : {}) };
}

const callErrors: readonly ErrorCode[] = ['no_service', 'budget_exceeded', 'rate_limited', 'proxy_failed', 'execution_unknown',
  'call_pending', 'idempotency_mismatch', 'idempotency_in_progress', 'unavailable'];

/** Whoever asks does not want to wait for the seller. */
function isAsync({ async }: { readonly async?: boolean | undefined }, req: IncomingMessage): boolean {
  return async === true || prefers(req, 'respond-async') !== null;
}

export function gatewayCallRoutes({ gateway, longCalls, links }: RouteDeps): Route[] {
  /** Accepts the call and answers where to ask for it. */
  async function later(caller: Caller, sessionId: string | null, request: CallRequest): Promise<Answer> {
    const wish = { buyer: caller.address, tenantId: caller.tenantId, sessionId, baseUrl: links.api };
    return answerLater(await longCalls.open(wish, request), links.api);
  }

  return [
    route({
      method: 'post', path: '/v1/gateway/proxy', access: 'agent', tag: 'Gateway', movesMoney: true,
      headers: [{ name: 'X-Gateway-Token', description: 'The id of the session that pays.', required: true }],
      summary: 'Buys one call in a session (header X-Gateway-Token): the best seller is asked, the next if it fails, '
        + 'and paid when it has delivered.',
      description: waitsNot, body: buyBody, answer: callOut, example: callExample, alsoAnswers,
      errors: ['session_closed', 'session_expired', 'forbidden', ...callErrors],
      handler: async ({ caller, req, body, idempotencyClaim }) => {
        const token = gatewayToken(req);
        // The body's key belongs to its session; the header's key belongs to the buyer.
        const claim = idempotencyClaim(body.idempotencyKey === undefined ? null : `${token}/${body.idempotencyKey}`);
        const request = toCallRequest(body, claim);
        const answer = isAsync(body, req) ? later(caller, token, request) : gateway.call(caller.address, token, request).then(answerCall);
        return answer.catch((error: unknown): never => {
          throw asTokenError(error);
        });
      },
    }),
    route({
      method: 'post', path: '/v1/gateway/call', access: 'agent', tag: 'Gateway', movesMoney: true,
      summary: 'Buys one call without a session: maxPrice is held, the price is paid on delivery, the rest comes back.',
      description: waitsNot,
      body: buyBody.omit({ maxPrice: true }).extend({ maxPrice: amount.describe('Most that the call may cost; this much is held.') }),
      answer: callOut, example: callOnceExample, alsoAnswers, errors: ['insufficient_balance', ...callErrors],
      handler: async ({ caller, req, body, idempotencyClaim }) => {
        const request = { ...toCallRequest(body, idempotencyClaim(body.idempotencyKey)), maxPriceMicros: body.maxPrice };
        const answer = isAsync(body, req) ? later(caller, null, request) : gateway.callOnce(caller.address, request).then(answerCall);
        return answer.catch((error: unknown): never => {
          if (!(error instanceof SuretyError) || error.code !== 'insufficient_balance') throw error;
          const price = formatMicros(body.maxPrice);
          throw new SuretyError('insufficient_balance', `There is not enough available money to hold ${price} USDC for this call.`,
            { cause: error, body: { price, currency: 'USDC' } });
        });
      },
    }),
  ];
}
