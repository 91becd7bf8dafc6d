/** What this platform is and how to begin, for people and for clients that ask before they register. */
import { z } from 'zod';
import { assets, DEFAULT_ASSET } from '../../domain/money.ts';
import type { RouteDeps } from '../deps.ts';
import { route, type Route } from '../routing/route.ts';
import { currencyOut } from '../wire/fields.ts';

export function platformRoutes({ version, links, sellerKeys, startedAt }: RouteDeps): Route[] {
  const instructions = {
    register: 'POST /v1/agents with an address and a name; the answer holds the API key, shown once.',
    deposit: 'The admin credits money with POST /v1/admin/deposits {agentAddress, amount, txHash}.',
    gateway: 'POST /v1/gateway/sessions {maxTotal} holds a budget; POST /v1/gateway/proxy {serviceType, params} with X-Gateway-Token '
      + 'buys one call; DELETE /v1/gateway/sessions/:id returns the rest.',
    spend: 'POST /v1/gateway/call {maxPrice, serviceType, params} buys one call without a session.',
    sell: 'POST /v1/agents/:address/services {type, name, price, endpoint}; docs/sellers.md shows how to check the signature '
      + 'of a paid request.',
  };
  return [
    route({
      method: 'get', path: '/api', access: 'public', tag: 'Platform', cacheSecs: 60,
      summary: 'Name, version and currency of the platform.',
      answer: z.object({ name: z.string(), description: z.string(), version: z.string(), chain: z.string(),
        currency: currencyOut.describe('Where a request names none.'), currencies: z.array(currencyOut) }),
      handler: () => ({ body: { name: 'Surety', description: 'Durable payments between AI agents.', version, chain: 'none',
        currency: DEFAULT_ASSET, currencies: Object.keys(assets) } }),
    }),
    route({
      method: 'get', path: '/v1/platform', access: 'public', tag: 'Platform', cacheSecs: 60,
      summary: 'How to use the platform, in one sentence each, and where its docs are.',
      answer: z.object({
        platform: z.object({ name: z.string(), version: z.string(), startedAt: z.string() }),
        instructions: z.record(z.string(), z.string()),
        links: z.record(z.string(), z.string().nullable()),
      }),
      handler: () => ({
        body: {
          platform: { name: 'Surety', version, startedAt: startedAt.toISOString() },
          instructions,
          links: { docs: `${links.api}/docs`, openapi: `${links.api}/openapi.json`, temporalUi: links.temporalUi },
        },
      }),
    }),
    route({
      method: 'get', path: '/.well-known/surety-keys.json', access: 'public', tag: 'Platform', cacheSecs: 300,
      summary: 'Public keys with which a seller checks that a paid request comes from this platform (Ed25519, JWK).',
      answer: z.object({ keys: z.array(z.looseObject({ kid: z.string(), kty: z.string(), crv: z.string(), x: z.string() })) }),
      handler: () => ({ body: { keys: sellerKeys } }),
    }),
  ];
}
