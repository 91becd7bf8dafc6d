/** Reading what Temporal keeps: the remote codec that its UI and command line ask, in the form that they speak. */
import { z } from 'zod';
import { SuretyError } from '../../domain/errors.ts';
import { decodeOnWire, encodeOnWire, UnreadablePayload } from '../../temporal/codec.ts';
import { CODEC_PATH } from '../middleware/cors.ts';
import type { RouteDeps } from '../deps.ts';
import { route, type Route } from '../routing/route.ts';

const base64 = z.string().max(4_000_000).regex(/^[A-Za-z0-9+/]*={0,2}$/, 'must be base64');
/** A payload as protobuf writes it in JSON: bytes are base64. Fields of later versions of Temporal pass as they are. */
const payload = z.looseObject({ metadata: z.record(z.string().max(200), base64).optional(), data: base64.optional() })
  .meta({ examples: [{ metadata: { encoding: 'YmluYXJ5L2VuY3J5cHRlZA==' }, data: 'c2VhbGVk' }] });
const payloads = z.object({ payloads: z.array(payload).max(10_000) });
const body = z.looseObject({ payloads: z.array(payload).max(10_000) });

export function temporalRoutes({ codec }: RouteDeps): Route[] {
  const working = () => {
    if (codec !== null) return codec;
    throw new SuretyError('not_configured', 'This platform does not encrypt what Temporal keeps: TEMPORAL_CODEC_KEYS is not set.');
  };
  return [
    route({
      method: 'post', path: `${CODEC_PATH}/decode`, access: 'admin', tag: 'Admin',
      summary: 'Decrypts payloads of Temporal, for its UI and command line (remote codec).',
      description: 'Payloads that are not encrypted come back as they are. One that was changed, or whose key is missing, refuses all.',
      body, answer: payloads, errors: ['not_configured'],
      handler: async ({ body: sent }) => ({ body: { payloads: await readable(decodeOnWire(working(), sent.payloads)) } }),
    }),
    route({
      method: 'post', path: `${CODEC_PATH}/encode`, access: 'admin', tag: 'Admin',
      summary: 'Encrypts payloads for Temporal, for inputs that are typed into its UI and command line (remote codec).',
      body, answer: payloads, errors: ['not_configured'],
      handler: async ({ body: sent }) => ({ body: { payloads: await encodeOnWire(working(), sent.payloads) } }),
    }),
  ];
}

async function readable<Result>(decoding: Promise<Result>): Promise<Result> {
  try {
    return await decoding;
  } catch (error) {
    if (error instanceof UnreadablePayload) throw new SuretyError('invalid_request', error.message);
    throw error;
  }
}
