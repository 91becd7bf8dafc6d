/** Paid calls: in a session, or on their own. */
import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { SuretyError, type ErrorCode } from '../../domain/errors.ts';
import type { CallAnswer, CallRequest, IdempotencyClaim } from '../../domain/gateway.ts';
import { SERVICE_TYPE } from '../../domain/ids.ts';
import { formatMicros } from '../../domain/money.ts';
import type { RouteDeps } from '../deps.ts';
import { callExample, callOnceExample } from '../wire/examples/gateway.ts';
import { callOut, writeCall } from '../wire/gateway.ts';
import { route, type Answer, type Route } from '../routing/route.ts';
import { address, amount, emptyIsAbsent, idempotencyKey, jsonObject } from '../wire/fields.ts';


export const callRequestBody = z.object({
  serviceType: z.string().min(1).max(200).describe('What kind of service is wanted, such as `translation`.'),
  params: jsonObject.nullish().describe('Handed to the seller as it is.'),
  maxPrice: z.preprocess(emptyIsAbsent, amount.optional()).describe('Most that this call may cost.'),
  preferAgent: z.preprocess(emptyIsAbsent, address.optional()).describe('This seller is asked first, if it fits.'),
  idempotencyKey: z.preprocess(emptyIsAbsent, idempotencyKey.optional())
    .describe('The same key in the same session answers with the first result and charges nothing.'),
});

/** @throws SuretyError `no_service` for a type that no service can have. */
export function toCallRequest(body: Omit<z.output<typeof callRequestBody>, 'idempotencyKey'>,
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

function answerCall(answer: CallAnswer): Answer {
  return { body: writeCall(answer), contentType: 'application/json; charset=utf-8',
    ...(answer.replayed ? { headers: { 'Idempotent-Replayed': 'true' } } : {}) };
}

const callErrors: readonly ErrorCode[] = ['no_service', 'budget_exceeded', 'rate_limited', 'proxy_failed', 'execution_unknown',
  'call_pending', 'idempotency_mismatch', 'idempotency_in_progress', 'unavailable'];

export function gatewayCallRoutes({ gateway }: RouteDeps): Route[] {
  return [
    route({
      method: 'post', path: '/v1/gateway/proxy', access: 'agent', tag: 'Gateway', movesMoney: true,
      headers: [{ name: 'X-Gateway-Token', description: 'The id of the session that pays.', required: true }],
      summary: 'Buys one call in a session (header X-Gateway-Token): the best seller is asked, the next if it fails, '
        + 'and paid when it has delivered.',
      body: callRequestBody, answer: callOut, example: callExample,
      errors: ['session_closed', 'session_expired', 'forbidden', ...callErrors],
      handler: async ({ caller, req, body, idempotencyClaim }) => {
        const token = gatewayToken(req);
        // The body's key belongs to its session; the header's key belongs to the buyer.
        const claim = idempotencyClaim(body.idempotencyKey === undefined ? null : `${token}/${body.idempotencyKey}`);
        const answer = await gateway.call(caller.address, token, toCallRequest(body, claim)).catch((error: unknown): never => {
          throw asTokenError(error);
        });
        return answerCall(answer);
      },
    }),
    route({
      method: 'post', path: '/v1/gateway/call', access: 'agent', tag: 'Gateway', movesMoney: true,
      summary: 'Buys one call without a session: maxPrice is held, the price is paid on delivery, the rest comes back.',
      body: callRequestBody.omit({ maxPrice: true })
        .extend({ maxPrice: amount.describe('Most that the call may cost; this much is held.') }),
      answer: callOut, example: callOnceExample, errors: ['insufficient_balance', ...callErrors],
      handler: async ({ caller, body, idempotencyClaim }) => {
        const request = { ...toCallRequest(body, idempotencyClaim(body.idempotencyKey)), maxPriceMicros: body.maxPrice };
        const answer = await gateway.callOnce(caller.address, request).catch((error: unknown): never => {
          if (!(error instanceof SuretyError) || error.code !== 'insufficient_balance') throw error;
          const price = formatMicros(body.maxPrice);
          throw new SuretyError('insufficient_balance', `There is not enough available money to hold ${price} USDC for this call.`,
            { cause: error, body: { price, currency: 'USDC' } });
        });
        return answerCall(answer);
      },
    }),
  ];
}
