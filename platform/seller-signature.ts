/**
 * How a seller knows that a request really comes from this platform and is really meant for it. Each paid request is signed with
 * Ed25519; the public key is at /.well-known/surety-keys.json, so no secret is shared and a seller cannot pose as the platform.
 * docs/sellers.md shows the check in ten lines; `verifySellerRequest` is the same check for our own demo and tests.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type JsonWebKey,
  type KeyObject } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** What a paid request says, as it goes into the headers. None of it may hold a line break. */
export interface SignedRequest {
  readonly method: string;
  /** Path and query as they are sent. */
  readonly path: string;
  /** Decimal text, `X-Payment-Amount`. */
  readonly amount: string;
  /** Buyer, `X-Payment-From`. */
  readonly from: string;
  /** Seller, `X-Payment-To`. Without it, one seller could send a request it received on to another. */
  readonly to: string;
  /** The call, `X-Payment-Ref`. */
  readonly ref: string;
  readonly idempotencyKey: string;
  /** The work may be given back unpaid, as the service allows: `X-Payment-Refundable`. */
  readonly refundable: boolean;
  readonly body: string;
}

export interface SellerSigner {
  /**
   * The headers of a paid request, `X-Payment-Signature` and `Idempotency-Key` among them. @throws RangeError for a line break in a field.
   */
  headersFor(request: SignedRequest, now?: Date): Record<string, string>;
  /** The signature of a text of our own, base64url; the same each time. The text must not begin like that of a request (`v1`). */
  sign(text: string): string;
  /** For /.well-known/surety-keys.json. */
  readonly publicKey: JsonWebKey & { readonly kid: string };
}

/** How far a request's time may be from the seller's clock, in seconds, before it counts as replayed. */
const SIGNATURE_TOLERANCE_SECS = 300;

/** A new private key as PKCS#8 PEM. Whoever calls keeps it: sellers cache the public half. */
export function generateSellerKey(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** @throws Error when the PEM holds no Ed25519 private key. */
export function createSellerSigner(privateKeyPem: string): SellerSigner {
  const privateKey = createPrivateKey(privateKeyPem);
  if (privateKey.asymmetricKeyType !== 'ed25519') throw new Error('The key that signs requests to sellers must be an Ed25519 key.');
  const publicKey = jwkOf(createPublicKey(privateKey));
  const signed = (text: string): string => sign(null, Buffer.from(text), privateKey).toString('base64url');
  return {
    publicKey, sign: signed,
    headersFor(request, now = new Date()) {
      const timestamp = String(Math.floor(now.getTime() / 1_000));
      const signature = signed(signedText(request, timestamp));
      return {
        'X-Payment-Amount': request.amount,
        'X-Payment-From': request.from,
        'X-Payment-To': request.to,
        'X-Payment-Ref': request.ref,
        'X-Payment-Refundable': String(request.refundable),
        'X-Payment-Timestamp': timestamp,
        'X-Payment-Key': publicKey.kid,
        'X-Payment-Signature': signature,
        'Idempotency-Key': request.idempotencyKey,
      };
    },
  };
}

/** What is signed: these lines, in this order. Lines, because no path and no header can hold a line break. */
function signedText(request: Omit<SignedRequest, 'refundable'> & { readonly refundable: boolean | string }, timestamp: string): string {
  const { method, path, amount, from, to, ref, idempotencyKey, refundable, body } = request;
  const lines = ['v1', method.toUpperCase(), path, timestamp, amount, from, to, ref, idempotencyKey, String(refundable)];
  if (lines.some((line) => /[\r\n]/.test(line))) throw new RangeError('A signed field holds a line break.');
  return [...lines, createHash('sha256').update(body).digest('hex')].join('\n');
}

export interface Received {
  readonly method: string;
  /** Path and query as received. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Exactly the bytes received, as text. */
  readonly body: string;
}

/** Why a request is not believed; `ok` when it is. */
export type Verdict = 'ok' | 'missing_header' | 'unknown_key' | 'wrong_seller' | 'stale' | 'bad_signature';

/**
 * The seller's check.
 * @param keys as `/.well-known/surety-keys.json` gives them. @param seller the seller's own address.
 */
export function verifySellerRequest(received: Received,
    { keys, seller, now = new Date() }: { keys: readonly JsonWebKey[]; seller: string; now?: Date }): Verdict {
  const header = (name: string): string => {
    const value = received.headers[name];
    return typeof value === 'string' ? value : '';
  };
  const timestamp = header('x-payment-timestamp');
  const signature = header('x-payment-signature');
  if (timestamp === '' || signature === '') return 'missing_header';
  if (header('x-payment-to').toLowerCase() !== seller.toLowerCase()) return 'wrong_seller';
  if (!/^[0-9]{1,12}$/.test(timestamp) || Math.abs(now.getTime() / 1_000 - Number(timestamp)) > SIGNATURE_TOLERANCE_SECS) return 'stale';
  const key = keys.find((candidate) => candidate['kid'] === header('x-payment-key'));
  if (key === undefined) return 'unknown_key';
  const text = signedText({
    method: received.method, path: received.path, body: received.body,
    amount: header('x-payment-amount'), from: header('x-payment-from'), to: header('x-payment-to'), ref: header('x-payment-ref'),
    idempotencyKey: header('idempotency-key'), refundable: header('x-payment-refundable'),
  }, timestamp);
  const good = verify(null, Buffer.from(text), createPublicKey({ key, format: 'jwk' }), Buffer.from(signature, 'base64url'));
  return good ? 'ok' : 'bad_signature';
}

/** The public key with an id that follows from it (RFC 7638), so that every process of a cluster names it alike. */
function jwkOf(publicKey: KeyObject): JsonWebKey & { readonly kid: string } {
  const { crv, kty, x } = publicKey.export({ format: 'jwk' });
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x })).digest('base64url');
  return { kty, crv, x, kid, use: 'sig', alg: 'EdDSA' };
}
