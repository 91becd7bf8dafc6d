/** The OpenAPI 3.1 document, made from the route list, so that it cannot say anything else than what the edge does. */
import { errorRules, type ErrorCode } from '../../domain/errors.ts';
import { exampleOf, jsonSchemaOf, type JsonSchema } from './json-schema.ts';
import { bodySchemaOf } from '../routing/compile.ts';
import type { Access, Route } from '../routing/route.ts';

export interface OpenapiDocument {
  readonly openapi: string;
  readonly info: Record<string, unknown>;
  readonly servers: readonly { readonly url: string }[];
  readonly tags: readonly { readonly name: string; readonly description?: string }[];
  readonly paths: Record<string, Record<string, unknown>>;
  readonly components: Record<string, unknown>;
}

const introduction = 'Surety is a payment platform for AI agents. Money is held before work begins, paid when it was delivered, and '
  + 'returned when it was not.\n\nAmounts are decimal strings in USDC with at most six decimal places, such as "1.50"; answers always have '
  + 'six. Every error has a code, a sentence, where the money is (`funds_status`) and what to do next (`recovery`). Requests that move '
  + 'money take an `Idempotency-Key`: the same key with the same body is answered as the first time, and nothing is paid twice.';

/** What each group of routes is for. A group without a sentence is listed all the same. */
export const tagDescriptions: Readonly<Record<string, string>> = {
  Agents: 'Who exists. An agent is an address with a name; registering gives the API key.',
  Services: 'What agents sell, and finding it.',
  Keys: 'API keys and proof of control of an address.',
  Gateway: 'Buying: open a session with a budget, buy calls, close it. Or one call without a session.',
  Escrow: 'Orders that take their time: the buyer confirms, an arbiter rules, or the clock decides.',
  Cards: 'Card numbers that can be charged once, up to an amount.',
  'Multistep escrow': 'A plan of steps, each paid when the buyer confirms it.',
  Streams: 'Metered work, paid by the tick out of a deposit.',
  Payments: 'Any payment by its id: what happened to it and to its money, in order.',
  Wallet: 'What an agent has, and every movement of it.',
  Reputation: 'How well agents have delivered.',
  Network: 'What happens on the platform as a whole.',
  Admin: 'For the operator: deposits, reversals, checking the books. Needs X-Admin-Secret.',
  Platform: 'What this platform is, its keys and its docs.',
  Health: 'For load balancers and monitoring.',
};

const securityByAccess: Readonly<Record<Access, readonly Record<string, readonly string[]>[]>> = {
  public: [],
  agent: [{ bearer: [] }, { apiKey: [] }],
  owner: [{ bearer: [] }, { apiKey: [] }],
  admin: [{ adminSecret: [] }],
  agent_or_admin: [{ bearer: [] }, { apiKey: [] }, { adminSecret: [] }],
  agent_or_link: [{ bearer: [] }, { apiKey: [] }, { signedLink: [] }],
};

/** Builds the document. `serverUrl` is where people reach the API. */
export function buildOpenapi(routes: readonly Route[],
    { version, serverUrl }: { readonly version: string; readonly serverUrl: string }): OpenapiDocument {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    for (const path of [route.path, ...(route.aliases ?? [])]) {
      const template = path.replace(/:(\w+)/g, '{$1}');
      (paths[template] ??= {})[route.method] = operation(route, path);
    }
  }
  const names = [...new Set(routes.map((route) => route.tag))];
  return {
    openapi: '3.1.1',
    info: { title: 'Surety', version, description: introduction, license: { name: 'UNLICENSED', url: `${serverUrl}/docs` } },
    servers: [{ url: serverUrl }],
    tags: names.map((name) => ({ name, ...(tagDescriptions[name] === undefined ? {} : { description: tagDescriptions[name] }) })),
    paths,
    components: { securitySchemes, schemas: { Error: errorSchema }, headers: commonHeaders },
  };
}

function operation(route: Route, path: string): Record<string, unknown> {
  const body = bodySchemaOf(route);
  return {
    operationId: operationId(route.method, path),
    tags: [route.tag],
    summary: route.summary,
    ...(route.description === undefined ? {} : { description: route.description }),
    ...(path === route.path ? {} : { deprecated: true, description: `Another spelling of ${route.path}.` }),
    // An owner's things may be read by the admin too.
    security: securityByAccess[route.access === 'owner' && route.method === 'get' ? 'agent_or_admin' : route.access],
    parameters: [...pathParameters(route, path), ...queryParameters(route), ...headerParameters(route)],
    ...(body === undefined ? {} : { requestBody: requestBody(route, jsonSchemaOf(body, 'input')) }),
    responses: responses(route),
  };
}

/** `get /v1/agents/:address/ledger` → `getAgentsByAddressLedger`: stable, and a good method name for generated clients. */
function operationId(method: string, path: string): string {
  const words = path.split(/[/.-]/).filter((word) => word !== '' && word !== 'v1');
  return method + words.map((word) => (word.startsWith(':') ? `By${upperFirst(word.slice(1))}` : upperFirst(word))).join('');
}

function upperFirst(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

function pathParameters(route: Route, path: string): object[] {
  const known: Readonly<Record<string, JsonSchema>> = route.params === undefined ? {}
    : (jsonSchemaOf(route.params, 'input').properties ?? {});
  return [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => ({
    name, in: 'path', required: true, schema: known[name] ?? { type: 'string' },
    ...(name === 'address' ? { description: 'Address of the agent.' } : {}),
  }));
}

function queryParameters(route: Route): object[] {
  if (route.query === undefined) return [];
  const { properties = {}, required = [] } = jsonSchemaOf(route.query, 'input');
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name, in: 'query', required: required.includes(name), ...(description === undefined ? {} : { description }), schema,
  }));
}

function headerParameters(route: Route): object[] {
  const own = (route.headers ?? [])
    .map(({ name, description, required = false }) => ({ name, in: 'header', required, description, schema: { type: 'string' } }));
  if (route.movesMoney !== true) return own;
  const description = 'Makes it safe to send the request again: the same key with the same body is answered as the first time.';
  return [...own, { name: 'Idempotency-Key', in: 'header', required: false, description,
    schema: { type: 'string', minLength: 1, maxLength: 200 } }];
}

function requestBody(route: Route, schema: JsonSchema): object {
  return {
    required: (schema.required ?? []).length > 0,
    content: { 'application/json': { schema, example: route.example?.body ?? exampleOf(schema, 'input') } },
  };
}

function responses(route: Route): Record<string, object> {
  const answers: Record<string, object> = { [String(route.answerStatus ?? 200)]: success(route) };
  for (const [status, { when, answer, example }] of Object.entries(route.alsoAnswers ?? {})) {
    answers[status] = { description: when, content: { 'application/json': { schema: jsonSchemaOf(answer, 'output'), example } } };
  }
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of errorCodesOf(route)) {
    const { status } = errorRules[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  for (const [status, codes] of [...byStatus].sort(([a], [b]) => a - b)) {
    answers[String(status)] ??= {
      description: codes.map((code) => `\`${code}\`: ${errorRules[code].recovery}`).join('\n\n'),
      content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' },
        example: errorExample(codes[0] ?? 'internal_error') } },
    };
  }
  return answers;
}

function success(route: Route): object {
  const headers = { 'X-Request-ID': { $ref: '#/components/headers/X-Request-ID' } };
  if (route.answer === undefined) return { description: 'Done.', headers };
  const schema = jsonSchemaOf(route.answer, 'output');
  return { description: 'Done.', headers,
    content: { 'application/json': { schema, example: route.example?.answer ?? exampleOf(schema, 'output') } } };
}

/** Every error a client can get from this route: what the edge says of every route like it, then what is its own. */
export function errorCodesOf(route: Route): ErrorCode[] {
  const codes = new Set<ErrorCode>();
  if (bodySchemaOf(route) !== undefined) for (const code of ['invalid_request', 'validation_error', 'payload_too_large',
    'unsupported_media_type'] as const) codes.add(code);
  if (route.query !== undefined) codes.add('validation_error');
  if (route.path.includes(':address')) codes.add('invalid_address');
  if (['agent', 'owner', 'agent_or_admin', 'agent_or_link'].includes(route.access)) codes.add('unauthorized');
  if (route.access === 'owner' || route.access === 'admin') codes.add('forbidden');
  for (const code of route.errors ?? []) codes.add(code);
  if (route.always !== true) for (const code of ['rate_limit_exceeded', 'internal_error', 'unavailable',
    'draining'] as const) codes.add(code);
  return [...codes];
}

function errorExample(code: ErrorCode): object {
  return { error: code, code, message: 'What happened, in a sentence.', funds_status: 'no_change', recovery: errorRules[code].recovery };
}

const errorSchema = {
  type: 'object',
  required: ['error', 'code', 'message', 'funds_status', 'recovery'],
  properties: {
    error: { type: 'string', enum: Object.keys(errorRules), description: 'What went wrong; stable, for programs.' },
    code: { type: 'string', description: 'The same as `error`.' },
    message: { type: 'string', description: 'What happened, for people.' },
    funds_status: { type: 'string',
      enum: ['no_change', 'held_pending', 'settled_safe', 'locked_in_escrow', 'released_to_seller', 'returned'],
      description: 'Where the money is now.' },
    recovery: { type: 'string', description: 'What to do next.' },
    details: {
      type: 'array', description: 'The fields that were refused.',
      items: { type: 'object', required: ['field', 'message'], properties: { field: { type: 'string' }, message: { type: 'string' } } },
    },
    retry_after: { type: 'number', description: 'Seconds to wait, as in Retry-After.' },
    price: { type: ['string', 'null'], description: 'With status 402: the amount that is needed.' },
    currency: { type: 'string', description: 'With status 402.' },
  },
  additionalProperties: true,
};

const securitySchemes = {
  bearer: { type: 'http', scheme: 'bearer', description: 'An API key: `Authorization: Bearer sk_…`.' },
  apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'The same API key in a header of its own.' },
  adminSecret: { type: 'apiKey', in: 'header', name: 'X-Admin-Secret',
    description: 'The secret of the operator. In demo mode without a secret, any API key.' },
  signedLink: { type: 'apiKey', in: 'query', name: 'token', description: 'The token of the link that a seller gets with a long call.' },
};

const commonHeaders = {
  'X-Request-ID': { description: 'Names this request in the log of the platform.', schema: { type: 'string' } },
};
