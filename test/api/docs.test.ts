import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Validator } from '@seriousme/openapi-schema-validator';
import { errorCodesOf } from '../../api/docs/openapi.ts';
import { bodySchemaOf } from '../../api/routing/compile.ts';
import { exampleOf, fieldsOf, jsonSchemaOf } from '../../api/docs/json-schema.ts';
import { errorRules } from '../../domain/errors.ts';
import { startApp, type TestApp } from '../support/app.ts';

let app: TestApp;
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the document under test is plain JSON
let document: any;
beforeAll(async () => {
  app = await startApp();
  document = (await app.ask('GET', '/openapi.json')).body;
});
afterAll(() => app.close());

test('the document is valid OpenAPI 3.1', async () => {
  const result = await new Validator().validate(structuredClone(document));
  expect(result.errors ?? []).toEqual([]);
  expect(result.valid).toBe(true);
  expect(document.openapi).toMatch(/^3\.1\./);
});

test('every route of the edge is in the document, aliases too, and nothing else', () => {
  const mounted = app.api.routes.flatMap((route) =>
    [route.path, ...(route.aliases ?? [])].map((path) => `${route.method} ${path.replace(/:(\w+)/g, '{$1}')}`));
  const described = Object.entries(document.paths)
    .flatMap(([path, methods]) => Object.keys(methods as object).map((method) => `${method} ${path}`));
  expect(described.sort()).toEqual(mounted.sort());
});

test('operation ids are unique, references lead somewhere', () => {
  const text = JSON.stringify(document);
  const ids = [...text.matchAll(/"operationId":"([^"]+)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const [, reference = ''] of text.matchAll(/"\$ref":"([^"]+)"/g)) {
    const target = reference.replace('#/', '').split('/')
      .reduce((node: Record<string, unknown> | undefined, key) => node?.[key] as Record<string, unknown> | undefined,
      document as Record<string, unknown>);
    expect(target).toBeDefined();
  }
});

test('the example of each body is accepted by the schema it explains', () => {
  for (const route of app.api.routes) {
    const schema = bodySchemaOf(route);
    if (schema === undefined) continue;
    const example = route.example?.body ?? exampleOf(jsonSchemaOf(schema, 'input'), 'input');
    const result = schema.safeParse(example);
    expect({ route: `${route.method} ${route.path}`, issues: result.error?.issues ?? [] })
      .toEqual({ route: `${route.method} ${route.path}`, issues: [] });
  }
});

test('the example of each answer fits the schema it stands beside', () => {
  for (const { method, path, example, answer } of app.api.routes) {
    if (example?.answer === undefined || answer === undefined) continue;
    const result = answer.safeParse(example.answer);
    expect({ route: `${method} ${path}`, issues: result.error?.issues ?? [], answer: result.data })
      .toEqual({ route: `${method} ${path}`, issues: [], answer: example.answer });
  }
});

test('no example is filled with words that say nothing', () => {
  const dull: string[] = [];
  const look = (value: unknown, where: string): void => {
    if (value === 'text') dull.push(where);
    else if (typeof value === 'object' && value !== null) for (const [name, inner] of Object.entries(value)) look(inner,
      `${where}.${name}`);
  };
  for (const [path, methods] of Object.entries<Record<string, { requestBody?: unknown; responses: object }>>(document.paths)) {
    for (const [method, { requestBody, responses }] of Object.entries(methods)) {
      for (const part of [requestBody, ...Object.values(responses)]) look((part as { content?: Record<string, { example?: unknown }> }
        | undefined)?.content?.['application/json']?.example, `${method} ${path}`);
    }
  }
  expect(dull).toEqual([]);
});

test('each route names its errors once, and says who may use it', () => {
  for (const route of app.api.routes) {
    const operation = document.paths[route.path.replace(/:(\w+)/g, '{$1}')][route.method];
    expect(operation.security.length > 0).toBe(route.access !== 'public');
    for (const code of errorCodesOf(route)) if (errorRules[code].status !== route.answerStatus) expect(
      operation.responses[errorRules[code].status].description).toContain(`\`${code}\``);
  }
});

test('fields of lists and objects are listed by their path', () => {
  const schema = { type: 'object', required: ['a'],
    properties: { a: { type: 'array', items: { type: 'object', properties: { b: { type: 'string', minLength: 1, maxLength: 5 } } } } } };
  expect(fieldsOf(schema)).toEqual([
    { name: 'a', type: 'object[]', required: true, notes: '' },
    { name: 'a[].b', type: 'string', required: false, notes: '1 to 5 characters' },
  ]);
});

test('the page shows every route and every error, loads nothing, runs nothing, and its policy allows its own style', async () => {
  const { status, headers, text } = await app.ask('GET', '/docs');
  expect(status).toBe(200);
  expect(headers.get('content-type')).toBe('text/html; charset=utf-8');
  for (const route of app.api.routes) expect(text).toContain(`<span class="path">${route.path}</span>`);
  for (const code of Object.keys(errorRules)) expect(text).toContain(`id="error-${code}"`);
  expect(text).not.toMatch(/<script|\son\w+=|\sstyle=|<link|<img|src=|@import|url\(/i);
  const style = /<style>([\s\S]*)<\/style>/.exec(text)?.[1] ?? '';
  expect(headers.get('content-security-policy')).toContain(`'sha256-${createHash('sha256').update(style).digest('base64')}'`);
  for (const [, target = ''] of text.matchAll(/href="#([^"]+)"/g)) expect(text).toContain(`id="${target}"`);
});
