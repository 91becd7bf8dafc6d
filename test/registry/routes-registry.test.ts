import type { Registry } from '../../registry/registry.ts';
import type { Reply } from '../support/app.ts';
import { anAddress, anAgent, aService, aWallet, type RegisteredAgent } from '../support/builders.ts';
import { startRegistryApp, type RegistryApp } from '../support/registry-app.ts';

let world: RegistryApp;
let registry: Registry;
let ada: RegisteredAgent;
let bob: RegisteredAgent;
beforeAll(async () => {
  world = await startRegistryApp();
  ({ registry, ada, bob } = world);
});
afterAll(() => world?.close());

const ask: RegistryApp['ask'] = (...args) => world.ask(...args);
const asAda: RegistryApp['asAda'] = (...args) => world.asAda(...args);

describe('Registering over HTTP', () => {
  test('with a challenge and a signature gives an agent, a key, and a second chance to get one', async () => {
    const wallet = aWallet();
    const sign = async (): Promise<object> => {
      const challenge = await ask('POST /v1/auth/challenge', { body: { address: wallet.address } });
      expect(challenge).toMatchObject({ status: 201,
        body: { challengeId: expect.stringMatching(/^chal_/), expiresAt: expect.any(String) } });
      return { challengeId: challenge.body.challengeId, signature: await wallet.signMessage(challenge.body.message) };
    };
    const registered = await ask('POST /v1/agents',
      { body: { address: wallet.address, name: 'Grace', ownerAddress: ada.address, endpoint: 'https://example.com/',
      proof: await sign() } });
    expect(registered).toMatchObject({
      status: 201,
      body: {
        agent: { address: wallet.address.toLowerCase(), name: 'Grace', ownerAddress: ada.address, isAutonomous: true, verified: true,
          endpoint: 'https://example.com/', services: [] },
        apiKey: expect.stringMatching(/^sk_/), keyId: expect.stringMatching(/^ak_/), warning: expect.any(String), usage: expect.any(String),
      },
    });
    const again = await ask('POST /v1/agents', { body: { address: wallet.address, name: 'Grace', proof: await sign() } });
    expect(again).toMatchObject({ status: 409, body: { code: 'agent_exists', recovery: expect.stringContaining('/v1/auth/recover') } });
    const recovered = await ask('POST /v1/auth/recover', { body: { address: wallet.address, proof: await sign(), revokeOthers: true } });
    expect(recovered.status).toBe(201);
    expect((await ask('GET /v1/auth/me', { key: registered.body.apiKey })).status).toBe(401);
    expect(await ask('GET /v1/auth/me', { key: recovered.body.apiKey }))
      .toMatchObject({ status: 200, body: { agentAddress: wallet.address.toLowerCase(), keyName: 'Recovered key' } });
  });

  test('as the clients of the first system do it works in demo mode', async () => {
    const address = anAddress();
    const { status, body } =
      await ask('POST /v1/agents',
      { body: { address: address.toUpperCase().replace('0X', '0x'), name: 'x', description: '', metadata: { a: [1] } } });
    expect(status).toBe(201);
    expect(body.agent).toMatchObject({ address, isAutonomous: false, verified: false, metadata: { a: [1] },
      stats: { totalReceived: '0.000000', successRate: 1, transactionCount: 0 } });
    expect(await ask(`GET /v1/agents/${address}`)).toMatchObject({ status: 200, body: { address, services: [] } });
  });

  const bad: readonly [string, object, string][] = [
    ['no address', { name: 'x' }, 'invalid_address'],
    ['a short address', { address: '0x12', name: 'x' }, 'invalid_address'],
    ['digits of another script', { address: `0x${'٣'.repeat(40)}`, name: 'x' }, 'invalid_address'],
    ['no name', { address: anAddress() }, 'validation_error'],
    ['a blank name', { address: anAddress(), name: '  ' }, 'validation_error'],
    ['a name of 201 characters', { address: anAddress(), name: 'x'.repeat(201) }, 'validation_error'],
    ['a name with NUL', { address: anAddress(), name: 'a\u0000b' }, 'validation_error'],
    ['half a character', { address: anAddress(), name: 'a\ud800' }, 'validation_error'],
    ['a number for a name', { address: anAddress(), name: 7 }, 'validation_error'],
    ['an unknown field', { address: anAddress(), name: 'x', isAdmin: true }, 'validation_error'],
    ['metadata that is a list', { address: anAddress(), name: 'x', metadata: [] }, 'validation_error'],
    ['metadata that is too large', { address: anAddress(), name: 'x', metadata: { a: 'x'.repeat(20_000) } }, 'validation_error'],
    ['metadata with NUL', { address: anAddress(), name: 'x', metadata: { a: ['\u0000'] } }, 'validation_error'],
    ['metadata with half a character', { address: anAddress(), name: 'x', metadata: { '\udc00': 1 } }, 'validation_error'],
    ['a proof without signature', { address: anAddress(), name: 'x', proof: { challengeId: 'chal_1' } }, 'validation_error'],
    ['an endpoint that is no address', { address: anAddress(), name: 'x', endpoint: 'javascript:alert(1)' }, 'validation_error'],
  ];
  test.each(bad)('with %s is refused', async (_, body, code) => {
    const reply = await ask('POST /v1/agents', { body });
    expect(reply).toMatchObject({ status: 400, body: { error: code, code, message: expect.any(String), details: expect.any(Array) } });
  });

  test('metadata may say "\\u0000" in words and hold any whole character', async () => {
    const metadata = { words: 'the text \\u0000 and \\ud800', face: '😀' };
    const { status, body } = await ask('POST /v1/agents', { body: { address: anAddress(), name: 'x', metadata } });
    expect([status, body.agent.metadata]).toEqual([201, metadata]);
  });
});

describe('A service over HTTP', () => {
  const valid = { type: 'code-review', name: 'Review', price: '0.25', description: '', endpoint: 'http://localhost:9090/x' };
  test('is offered, changed by what is sent only, found and withdrawn', async () => {
    const added = await asAda('POST /v1/agents/:ada/services', valid);
    expect(added).toMatchObject({ status: 201,
      body: { id: expect.stringMatching(/^svc_[0-9a-f]{24}$/), price: '0.250000', active: true, idempotent: false,
      refundable: false, agentAddress: ada.address } });
    const changed = await asAda(`PUT /v1/agents/:ada/services/${added.body.id}`, { price: '0.3', idempotent: true, refundable: true });
    expect(changed).toMatchObject({ status: 200,
      body: { name: 'Review', price: '0.300000', active: true, idempotent: true, refundable: true, endpoint: valid.endpoint } });
    const found = await ask('GET /v1/services?type=code-review&sortBy=best_value&minPrice=0');
    expect(found).toMatchObject({
      status: 200, body: { count: 1,
        services: [{ id: added.body.id, agentName: 'Ada', valueScore: expect.any(Number), reputationTier: 'new', verified: false }],
        query: { type: 'code-review', minPrice: '0', sortBy: 'value' } },
    });
    expect((await asAda(`DELETE /v1/agents/:ada/services/${added.body.id}`)).status).toBe(204);
    expect((await ask('GET /v1/services?type=code-review')).body).toMatchObject({ services: [], count: 0 });
  });

  const bad: readonly [string, object, string][] = [
    ...['1e9', '-1', '0', '0.0000000', '1.0000001', '', ' 1', '1,5', '.5', '5.', '9'.repeat(400),
      '١'].map((price): [string, object, string] => [`the price ${price.slice(0, 12)}`, { price }, 'invalid_amount']),
    ['a number for a price', { price: 1 }, 'invalid_amount'],
    ['a type that cannot be called', { type: 'two words' }, 'validation_error'],
    ['an empty type', { type: '' }, 'validation_error'],
    ['an endpoint that is no address', { endpoint: 'not a url' }, 'validation_error'],
    ['an endpoint of another protocol', { endpoint: 'file:///etc/passwd' }, 'validation_error'],
    ['an unknown field', { prize: '1' }, 'validation_error'],
    ['text for a flag', { idempotent: 'yes' }, 'validation_error'],
  ];
  test.each(bad)('with %s is refused', async (_, change, code) => {
    expect(await asAda('POST /v1/agents/:ada/services', { ...valid, ...change })).toMatchObject({ status: 400, body: { code } });
    expect(await asAda('PUT /v1/agents/:ada/services/svc_1', change)).toMatchObject({ status: 400, body: { code } });
  });

  test.each([['minPrice=1e9', 'invalid_amount'], ['maxPrice=-1', 'invalid_amount'], ['sortBy=colour', 'validation_error']])(
      'is not looked for with %s', async (query, code) => {
    expect(await ask(`GET /v1/services?${query}`)).toMatchObject({ status: 400, body: { code } });
  });

  test('belongs to its owner', async () => {
    const { id } = await aService(registry, bob.address);
    expect(await asAda('POST /v1/agents/:bob/services', valid)).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(await asAda(`PUT /v1/agents/:ada/services/${id}`, { name: 'mine' })).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });
});

describe('Keys over HTTP', () => {
  test('are made, listed, replaced and ended', async () => {
    const { address, key } = await anAgent(registry);
    const mine = (line: string, body?: unknown): Promise<Reply> => ask(line, { key: key.secret, body });
    const second = await mine('POST /v1/auth/keys');
    expect(second).toMatchObject({ status: 201,
      body: { name: 'Additional key', apiKey: expect.stringMatching(/^sk_/), warning: expect.any(String) } });
    expect(await mine('GET /v1/auth/keys'))
      .toMatchObject({ status: 200, body: { count: 2, keys: [{ id: second.body.keyId, revoked: false }, { id: key.keyId }] } });
    const third = await mine(`POST /v1/auth/keys/${second.body.keyId}/regenerate`, {});
    expect(third).toMatchObject({ status: 200, body: { oldKeyId: second.body.keyId, apiKey: expect.stringMatching(/^sk_/) } });
    expect((await ask('GET /v1/auth/me', { key: second.body.apiKey })).status).toBe(401);
    expect(await mine(`DELETE /v1/auth/keys/${third.body.keyId}`)).toMatchObject({ status: 200, body: { keyId: third.body.keyId } });
    expect(await mine(`DELETE /v1/auth/keys/${key.keyId}`)).toMatchObject({ status: 400, body: { code: 'cannot_revoke_current' } });
    expect(await mine('DELETE /v1/auth/keys/ak_0')).toMatchObject({ status: 404, body: { code: 'key_not_found' } });
    expect(await mine('POST /v1/auth/keys/ak_0/regenerate')).toMatchObject({ status: 404, body: { code: 'key_not_found' } });
    expect((await mine(`DELETE /v1/agents/${address}`)).status).toBe(204);
    expect((await mine('GET /v1/auth/me')).status).toBe(401);
    expect(await ask(`GET /v1/agents/${address}`)).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });
});
