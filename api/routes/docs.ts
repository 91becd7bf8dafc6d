/** The API, described by itself. */
import { z } from 'zod';
import type { RouteDeps } from '../deps.ts';
import { renderDocs } from '../docs/page.ts';
import { buildOpenapi } from '../docs/openapi.ts';
import { route, type Route } from '../routing/route.ts';

/** @param listed all routes of the app; asked when somebody reads the docs, because these two belong to them. */
export function docsRoutes({ version, links }: RouteDeps, listed: () => readonly Route[]): Route[] {
  // The address is known only when the server listens, and making the texts takes a while: once for each address.
  const openapi = remembered((serverUrl) => JSON.stringify(buildOpenapi(listed(), { version, serverUrl })));
  const page = remembered((serverUrl) => renderDocs(listed(), { version, serverUrl }));
  return [
    route({
      method: 'get', path: '/openapi.json', access: 'public', tag: 'Platform', cacheSecs: 60,
      summary: 'This API as an OpenAPI 3.1 document.',
      answer: z.looseObject({ openapi: z.string() }),
      handler: () => ({ body: openapi(links.api), contentType: 'application/json; charset=utf-8' }),
    }),
    route({
      method: 'get', path: '/docs', access: 'public', tag: 'Platform', cacheSecs: 60,
      summary: 'This API for reading.',
      handler() {
        const { html, policy } = page(links.api);
        return { body: html, contentType: 'text/html; charset=utf-8', headers: { 'Content-Security-Policy': policy } };
      },
    }),
  ];
}

function remembered<T>(make: (serverUrl: string) => T): (serverUrl: string) => T {
  let last: { readonly serverUrl: string; readonly made: T } | undefined;
  return (serverUrl) => {
    if (last?.serverUrl !== serverUrl) last = { serverUrl, made: make(serverUrl) };
    return last.made;
  };
}
