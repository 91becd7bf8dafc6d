import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { route } from '../../api/routing/route.ts';
import { address, amount, jsonObject, line, paragraph } from '../../api/wire/fields.ts';
import { addressOf, startApp, type TestApp } from '../support/app.ts';

let requestHash: string | undefined;

/** Routes that exist only here. */
const routes = [
  route({
    method: 'post', path: '/test/echo', aliases: ['/test/echoes'], access: 'public', tag: 'Test', summary: 'Echo.',
    body: z.object({ name: line(20).optional(), story: paragraph(100).optional(), price: amount.optional(), seller: address.optional(),
      params: jsonObject.optional(), count: z.int().min(1).max(5).optional() }),
    handler: ({ body }) => ({ body: { ...body, price: body.price?.toString() } }),
  }),
  route({
    method: 'post', path: '/test/pay/:id', access: 'public', tag: 'Test', summary: 'Pay.', movesMoney: true,
    body: z.object({ idempotencyKey: z.string().optional(), amount: z.string().optional(), to: z.string().optional() }),
    handler({ idempotencyClaim, body, params }) {
      const claim = idempotencyClaim(body.idempotencyKey);
      requestHash = claim?.requestHash;
      return { body: { key: claim?.key ?? null, id: params['id'] } };
    },
  }),
  route({ method: 'post', path: '/test/confirm', access: 'public', tag: 'Test', summary: 'Confirm.',
    handler: () => ({ body: { confirmed: true } }) }),
  route({ method: 'delete', path: '/test/items/:id', access: 'public', tag: 'Test', summary: 'Gone.', handler: () => ({ status: 204 }) }),
];

let app: TestApp;
beforeAll(async () => {
  app = await startApp({ routes });
});
afterAll(() => app.close());

const errorKeys = { error: expect.any(String), code: expect.any(String), message: expect.any(String), funds_status: expect.any(String),
  recovery: expect.any(String) };

describe('bodies', () => {
  test.each([
    ['nothing', undefined, {}], ['nothing, called JSON', '', { 'content-type': 'application/json' }],
    ['an empty object', '{}', { 'content-type': 'application/json' }],
    ['nothing, called a form', '', { 'content-type': 'application/x-www-form-urlencoded' }],
  ])('%s is an empty request', async (_, body, headers) => {
    expect(await app.ask('POST', '/test/confirm', { body, headers })).toMatchObject({ status: 200, body: { confirmed: true } });
  });

  test('a DELETE that calls its empty body JSON works, and 204 has no body', async () => {
    const reply = await app.ask('DELETE', '/test/items/a', { headers: { 'content-type': 'application/json' } });
    expect([reply.status, reply.text]).toEqual([204, '']);
  });

  test.each([
    ['broken JSON', '{"name":', 400, 'invalid_request'], ['an array', '[]', 400, 'invalid_request'],
    ['a number', '1', 400, 'invalid_request'], ['null', 'null', 400, 'invalid_request'],
    ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 400, 'invalid_request'],
    ['much too deep', `{"params":${'['.repeat(5_000)}${']'.repeat(5_000)}}`, 400, 'invalid_request'],
    ['2 MB', `{"name":"${'x'.repeat(2_000_000)}"}`, 413, 'payload_too_large'],
  ])('%s is refused', async (_, body, status, code) => {
    expect(await app.ask('POST', '/test/echo', { body }))
      .toMatchObject({ status, body: { ...errorKeys, error: code, code, funds_status: 'no_change' } });
  });

  test('2 MB without an announced length are refused as well', async () => {
    const stream = new ReadableStream({
      start(controller) {
        for (let part = 0; part < 32; part += 1) controller.enqueue(new Uint8Array(64 * 1024).fill(32));
        controller.close();
      },
    });
    const response = await fetch(`${app.baseUrl}/test/echo`,
      { method: 'POST', body: stream, duplex: 'half', headers: { 'content-type': 'application/json' } } as RequestInit);
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([413, 'payload_too_large']);
  });

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/json; charset=utf-16'])(
      '%s is not JSON', async (type) => {
    expect(await app.ask('POST', '/test/echo', { body: '{}', headers: { 'content-type': type } }))
      .toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } });
  });

  test.each(['application/json; charset=UTF-8', 'application/vnd.surety+json'])('%s is', async (type) => {
    expect(await app.ask('POST', '/test/echo', { body: '{}', headers: { 'content-type': type } })).toMatchObject({ status: 200 });
  });

  test('unknown fields are refused, each by name', async () => {
    const reply = await app.ask('POST', '/test/echo', { body: '{"nmae":"x","__proto__":{"a":1}}' });
    expect(reply).toMatchObject({ status: 400,
      body: { code: 'validation_error',
      details: [{ field: 'nmae', message: 'is not a field of this request' }, { field: '__proto__' }] } });
  });

  test('a hundred thousand unknown fields do not make a large answer', async () => {
    const body = Object.fromEntries(Array.from({ length: 60_000 }, (_, n) => [`f${n}`, 1]));
    const reply = await app.ask('POST', '/test/echo', { body });
    expect(reply.status).toBe(400);
    expect(reply.text.length).toBeLessThan(4_000);
  });

  test.each(['1e9', '-1', '0', '0.0', '1.0000001', '', ' 1', '1 ', '.5', '5.', '1,5', '0x10', '١٢', '１', '9'.repeat(400), 1, 1.5, null, {},
      ['1'], true])('the amount %j is refused with a code of its own', async (price) => {
    expect(await app.ask('POST', '/test/echo', { body: { price } }))
      .toMatchObject({ status: 400, body: { code: 'invalid_amount', details: [{ field: 'price' }] } });
  });

  test.each(['0x1', addressOf(1).slice(2), `${addressOf(1)}0`, `0x${'g'.repeat(40)}`,
      5])('the address %j is refused with a code of its own', async (seller) => {
    expect(await app.ask('POST', '/test/echo', { body: { seller } })).toMatchObject({ status: 400, body: { code: 'invalid_address' } });
  });

  test('two different complaints are a validation error with both', async () => {
    const { body } = await app.ask('POST', '/test/echo', { body: { price: '-1', seller: 'x', count: 9 } });
    expect(body.code).toBe('validation_error');
    expect(body.details.map((detail: { field: string }) => detail.field).sort()).toEqual(['count', 'price', 'seller']);
  });

  test.each(['a\u0000b', 'a\nb', 'a\u001bb', '\ud800', 'x\udc00y', '', '   ', 'x'.repeat(21)])('the name %j is refused', async (name) => {
    expect(await app.ask('POST', '/test/echo', { body: JSON.stringify({ name }) }))
      .toMatchObject({ status: 400, body: { code: 'validation_error' } });
  });

  test('text keeps its letters and loses its margins', async () => {
    const reply = await app.ask('POST', '/test/echo',
      { body: { name: ' Ünï 😀 ', story: 'two\nlines\t!', price: '1.5', seller: `0x${'A'.repeat(40)}` } });
    expect(reply.body).toEqual({ name: 'Ünï 😀', story: 'two\nlines\t!', price: '1500000', seller: `0x${'a'.repeat(40)}` });
  });
});

describe('idempotency keys', () => {
  const pay = (body: unknown, key?: string, path = '/test/pay/a') =>
    app.ask('POST', path, { body, ...(key === undefined ? {} : { headers: { 'Idempotency-Key': key } }) });

  test('the key may come in the header or the body, and the hash is about the request alone', async () => {
    expect((await pay({ amount: '1', to: 'x' }, 'k1')).body.key).toBe('k1');
    const first = requestHash;
    expect((await pay({ to: 'x', idempotencyKey: 'k1', amount: '1' })).body.key).toBe('k1');
    expect(requestHash).toBe(first);
    await pay({ amount: '2', to: 'x' }, 'k1');
    expect(requestHash).not.toBe(first);
    await pay({ amount: '1', to: 'x' }, 'k1', '/test/pay/b');
    expect(requestHash).not.toBe(first);
  });

  test.each(['', ' ', 'a b', 'x'.repeat(201), 'ü'])('the key %j is refused', async (key) => {
    const reply = await pay({}, key === 'ü' ? '\u00fc' : key);
    expect(reply).toMatchObject({ status: 400, body: { code: 'validation_error', details: [{ field: 'Idempotency-Key' }] } });
  });
});
