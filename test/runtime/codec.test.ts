/** What Temporal keeps of payments, when keys are set: readable with a key, and only with it. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { WorkflowUpdateFailedError } from '@temporalio/client';
import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import proto from '@temporalio/proto';
import { readEnv } from '../../platform/env.ts';
import { createPayloadCodec, readCodecKeys, UnreadablePayload, type CodecKey } from '../../temporal/codec.ts';
import { createSearchHash } from '../../temporal/search-hash.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { setCardStage } from '../support/cards.ts';
import { adminSecret, setStage } from '../support/escrows.ts';
import { buyLong } from '../support/long-calls.ts';
import { createPlatformSuite, eventually } from '../support/platform-suite.ts';
import { SEARCH_KEY } from '../support/platform.ts';
import { scratchDataDir, startProgram } from '../support/programs.ts';

const aKey = (id: string): CodecKey => ({ id, secret: randomBytes(32) });
const written = (...keys: CodecKey[]): string => keys.map(({ id, secret }) => `${id}:${secret.toString('base64')}`).join(',');
const [first, second] = [aKey('2026-10'), aKey('2026-11')];
const secretWord = 'the goods were green';
const plain = defaultPayloadConverter.toPayload({ reason: secretWord }) as Payload;
const textIn = ({ data }: Payload): string => Buffer.from(data ?? []).toString();
const sealedBy = async (...keys: CodecKey[]): Promise<Payload> => (await createPayloadCodec(keys).encode([plain]))[0] as Payload;

describe('a payload', () => {
  test('comes back as it was, says by which key it was encrypted, and shows nothing of itself', async () => {
    const sealed = await sealedBy(first);
    expect(textIn({ data: sealed.metadata?.['encoding'] ?? null })).toBe('binary/encrypted');
    expect(textIn({ data: sealed.metadata?.['encryption-key-id'] ?? null })).toBe('2026-10');
    expect(textIn(sealed)).not.toContain(secretWord);
    const [opened] = await createPayloadCodec([first]).decode([sealed]);
    expect(defaultPayloadConverter.fromPayload(opened as Payload)).toEqual({ reason: secretWord });
    expect(textIn(await sealedBy(first))).not.toBe(textIn(sealed));
  });

  test('of an older key is read while that key stands behind the new one; a sentence says which is missing when it is gone', async () => {
    const old = await sealedBy(first);
    const [opened] = await createPayloadCodec([second, first]).decode([old]);
    expect(textIn(opened as Payload)).toContain(secretWord);
    expect(textIn({ data: (await sealedBy(second, first)).metadata?.['encryption-key-id'] ?? null })).toBe('2026-11');
    await expect(createPayloadCodec([second]).decode([old])).rejects.toThrow(/the key "2026-10", which is not among those/);
  });

  test('that was changed is refused, wherever it was changed, and so is one of another key with the same name', async () => {
    const sealed = await sealedBy(first);
    for (const at of [0, 13, (sealed.data?.length ?? 0) - 1]) {
      const data = Buffer.from(sealed.data ?? []);
      data[at] = (data[at] ?? 0) ^ 1;
      await expect(createPayloadCodec([first]).decode([{ ...sealed, data }])).rejects.toBeInstanceOf(UnreadablePayload);
    }
    await expect(createPayloadCodec([first]).decode([{ ...sealed, data: Buffer.alloc(5) }])).rejects.toThrow(/was changed/);
    await expect(createPayloadCodec([aKey('2026-10')]).decode([sealed])).rejects.toThrow(/another key has that name/);
  });

  test('from before the keys passes as it is', async () => {
    expect(await createPayloadCodec([first]).decode([plain])).toEqual([plain]);
  });
});

describe('the keys', () => {
  test('come from the setting or from a file, one in a line', async () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'surety-keys-'));
    const file = path.join(dir, 'keys');
    writeFileSync(file, `${written(second)}\n${written(first)}\n`);
    expect(await readCodecKeys(readEnv({ TEMPORAL_CODEC_KEYS_FILE: file }))).toEqual([second, first]);
    expect(await readCodecKeys(readEnv({ TEMPORAL_CODEC_KEYS: written(first, second) }))).toEqual([first, second]);
    expect(await readCodecKeys(readEnv({}))).toEqual([]);
    rmSync(dir, { recursive: true });
    await expect(readCodecKeys(readEnv({ TEMPORAL_CODEC_KEYS_FILE: file }))).rejects.toThrow(/TEMPORAL_CODEC_KEYS_FILE.*ENOENT/);
  });

  test.each([
    ['a short secret', `a:${randomBytes(16).toString('base64')}`, /key 1 is not of the form/],
    ['a name without a secret', `${written(first)},b`, /key 2 is not of the form/],
    ['two keys of one name', `${written(first)},${written(aKey(first.id))}`, /two keys have the same name/],
    ['nothing', ' , ', /there is no key/],
  ])('%s is refused in a sentence that holds no key', async (_, text, sentence) => {
    const refusal = await readCodecKeys(readEnv({ TEMPORAL_CODEC_KEYS: text })).catch((error: Error) => error.message);
    expect(refusal).toMatch(sentence);
    expect(refusal).not.toContain(first.secret.toString('base64'));
  });

  test('hashed searches need them, and setting and file exclude each other', () => {
    expect(() => readEnv({ TEMPORAL_SEARCH_ATTRIBUTES: 'hashed' })).toThrow(/TEMPORAL_SEARCH_ATTRIBUTES: hashed needs/);
    expect(() => readEnv({ TEMPORAL_CODEC_KEYS: written(first), TEMPORAL_CODEC_KEYS_FILE: 'keys' })).toThrow(/only one of them/);
  });
});

test('a command says what to search for, in whichever spelling the address is given', async () => {
  const { dir, remove } = scratchDataDir();
  const settings = { DATA_DIR: dir, TEMPORAL_SEARCH_ATTRIBUTES: 'hashed', TEMPORAL_CODEC_KEYS: written(first) };
  const address = `0x${'ab'.repeat(20)}`;
  const command = startProgram('temporal/search-hash-main.ts', settings, [address.toUpperCase().replace('0X', '0x'), 'ten_1']);
  expect(await command.ended).toBe(0);
  const hash = createSearchHash(readFileSync(path.join(dir, 'search.key'), 'utf8'));
  expect(command.output()).toContain(`  ${hash(address)}\n`);
  expect(command.output()).toContain(`ten_1  ${hash('ten_1')}\n`);
  const plainly = startProgram('temporal/search-hash-main.ts', { DATA_DIR: dir }, [address]);
  expect([await plainly.ended, plainly.output()]).toEqual([1, expect.stringMatching(/is plain/)]);
  remove();
}, 60_000);

describe('the remote codec', () => {
  const onWire = async (...keys: CodecKey[]) => {
    const { metadata, data } = await sealedBy(...keys);
    const base64 = (bytes: Uint8Array | null | undefined): string => Buffer.from(bytes ?? []).toString('base64');
    const named = Object.entries(metadata ?? {}).map(([name, bytes]) => [name, base64(bytes)]);
    return { metadata: Object.fromEntries(named) as Record<string, string>, data: base64(data) };
  };
  const ui = 'http://ui.example:8233';
  let app: TestApp;
  beforeAll(async () => {
    app = await startApp({ env: { ADMIN_SECRET: adminSecret }, deps: { codec: createPayloadCodec([second, first]),
      links: { api: '', temporalUi: `${ui}/` } } });
  });
  afterAll(() => app.close());

  test('decodes for the admin what either key has encrypted, and encodes what is decoded again', async () => {
    const ask = (what: string, payloads: unknown) =>
      app.ask('POST', `/v1/temporal/codec/${what}`, { adminSecret, body: { payloads }, headers: { 'x-namespace': 'default' } });
    const decoded = await ask('decode', [await onWire(first), await onWire(second)]);
    expect(decoded.status).toBe(200);
    for (const { data } of decoded.body.payloads) expect(Buffer.from(data as string, 'base64').toString()).toContain(secretWord);
    const encoded = await ask('encode', decoded.body.payloads);
    expect(JSON.stringify(encoded.body)).not.toContain(decoded.body.payloads[0].data);
    expect((await ask('decode', encoded.body.payloads)).body).toEqual(decoded.body);
    expect(await ask('decode', [await onWire(aKey('lost'))]))
      .toMatchObject({ status: 400, body: { message: expect.stringMatching(/"lost"/) } });
  });

  test('is for nobody else', async () => {
    const payloads = [await onWire(first)];
    for (const credentials of [{}, { key: 'sk_some' }, { adminSecret: 'another secret' }]) {
      expect(await app.ask('POST', '/v1/temporal/codec/decode', { ...credentials, body: { payloads } })).toMatchObject({ status: 403 });
    }
  });

  test('may be asked from the page of Temporal\'s UI, which may ask nothing else', async () => {
    const allowed = async (where: string) => (await app.ask('OPTIONS', where,
      { headers: { origin: ui, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-namespace' } }))
      .headers.get('access-control-allow-origin');
    expect(await allowed('/v1/temporal/codec/decode')).toBe(ui);
    expect(await allowed('/v1/escrow')).toBeNull();
  });

  test('says so where nothing is encrypted', async () => {
    const without = await startApp({ env: { ADMIN_SECRET: adminSecret } });
    expect(await without.ask('POST', '/v1/temporal/codec/decode', { adminSecret, body: { payloads: [] } }))
      .toMatchObject({ status: 501, body: { code: 'not_configured', message: expect.stringMatching(/TEMPORAL_CODEC_KEYS is not set/) } });
    await without.close();
  });
});

describe('a platform with keys and hashed searches', () => {
  const { platform, seller } = createPlatformSuite({ TEMPORAL_CODEC_KEYS: written(second, first), TEMPORAL_SEARCH_ATTRIBUTES: 'hashed',
    ADMIN_SECRET: adminSecret });
  const hash = createSearchHash(SEARCH_KEY);

  /** Everything that the server knows of a workflow, as bytes; without the amount to search by, which stays readable. */
  async function keptOf(workflowId: string): Promise<Buffer> {
    const { client: { workflowService }, namespace } = platform().temporal;
    const { history } = await workflowService.getWorkflowExecutionHistory({ namespace, execution: { workflowId } });
    const described = await workflowService.describeWorkflowExecution({ namespace, execution: { workflowId } });
    for (const known of [history?.events?.[0]?.workflowExecutionStartedEventAttributes, described.workflowExecutionInfo]) {
      expect(Object.keys(known?.searchAttributes?.indexedFields ?? {})).toContain('Buyer');
      delete known?.searchAttributes?.indexedFields?.['AmountUsd'];
    }
    const { History } = proto.temporal.api.history.v1;
    const { DescribeWorkflowExecutionResponse } = proto.temporal.api.workflowservice.v1;
    return Buffer.concat([History.encode(history ?? {}).finish(), DescribeWorkflowExecutionResponse.encode(described).finish()]);
  }

  const found = async (query: string): Promise<string[]> => {
    const ids: string[] = [];
    for await (const { workflowId } of platform().temporal.client.workflow.list({ query })) ids.push(workflowId);
    return ids;
  };

  test('the history of a disputed escrow shows neither reason nor parties nor amount; whoever has the key reads all of it', async () => {
    const stage = await setStage(platform());
    const id = await stage.anEscrow({ amount: '7.654321' });
    const steps = [['deliver', stage.cast.seller], ['dispute', stage.cast.buyer]] as const;
    for (const [step, who] of steps) {
      expect((await stage.step(id, step, who, step === 'dispute' ? { reason: secretWord } : undefined)).status).toBe(200);
    }
    const handle = platform().temporal.client.workflow.getHandle(`escrow-${id}`);
    const view = await handle.query<{ state: string; facts: { note?: string }[] }>('surety-view');
    expect(view).toMatchObject({ state: 'disputed', facts: expect.arrayContaining([expect.objectContaining({ note: secretWord })]) });
    const refusal = await handle.executeUpdate('surety-deliver').catch((error: unknown) => error);
    expect((refusal as WorkflowUpdateFailedError).cause?.message).toMatch(/disputed/);

    expect((await stage.step(id, 'resolve', stage.cast.arbiter, { resolution: 'refund', reason: 'indeed green' })).status).toBe(200);
    expect(await handle.result()).toMatchObject({ returned: '7.654321' });
    const kept = await keptOf(`escrow-${id}`);
    expect(kept.includes('binary/encrypted')).toBe(true);
    const { buyer, seller } = stage.cast;
    const secrets = [secretWord, 'indeed green', '7.654321', buyer.address, seller.address];
    expect(secrets.filter((text) => kept.includes(text))).toEqual([]);
    await eventually(async () => {
      expect(await found(`Buyer = '${hash(stage.cast.buyer.address)}' AND PaymentOutcome = 'returned'`)).toEqual([`escrow-${id}`]);
    });
    expect(await found(`Buyer = '${stage.cast.buyer.address}'`)).toEqual([]);
  }, 60_000);

  test('the merchant who charges a card is hashed too, by the workflow, which has no key', async () => {
    const stage = await setCardStage(platform());
    const card = await stage.aCard();
    expect((await stage.charge(card)).status).toBe(200);
    await eventually(async () => expect(await found(`Seller = '${hash(stage.merchant.address)}'`)).toEqual([card.workflowId]));
    expect((await keptOf(card.workflowId)).includes(stage.merchant.address)).toBe(false);
  }, 60_000);

  test('the seller to whom a long call went on is hashed too', async () => {
    const market = platform();
    const [broken, good] = [await seller('Broken', { kind: 'status', status: 500 }), await seller('Good')];
    await market.offers(broken, { serviceType: 'film', price: '0.05' });
    const offer = await market.offers(good, { serviceType: 'film', price: '0.10' });
    const { workflowId } = (await buyLong(market, await market.aSession())).body;
    await eventually(async () => expect(await found(`Seller = '${hash(offer.address)}'`)).toEqual([workflowId]));
    expect((await keptOf(workflowId)).includes(offer.address)).toBe(false);
  }, 60_000);
});
