/** Asks one seller, once, and says plainly how it went. */
import { formatMicros } from '../../domain/money.ts';
import type { Crash } from '../../platform/crash.ts';
import type { Outbound, OutboundResult } from '../../platform/outbound.ts';
import type { SellerSigner } from '../../platform/seller-signature.ts';
import type { Breaker } from './breaker.ts';
import type { Candidate, OpenCall } from './call.ts';
import type { AttemptLog } from './rows.ts';

export interface ForwardDeps {
  readonly outbound: Outbound;
  readonly signer: SellerSigner;
  readonly breaker: Breaker;
  readonly crash: Crash;
}

export type Forwarded =
  | { readonly tag: 'delivered'; readonly httpStatus: number; readonly responseJson: string | null; readonly latencyMs: number;
    readonly log: AttemptLog }
  | { readonly tag: 'failed'; readonly reason: string; readonly log: AttemptLog;
    /** False only when it is certain that the seller did nothing, or has said that it did not do it. */
    readonly mayHaveWorked: boolean };

/** What the buyer reads when a seller gave no answer; the names of our network stay with us. */
const failures: Record<Exclude<OutboundResult['tag'], 'answered'>, string> = {
  timeout: 'did not answer in time',
  refused_address: 'has an address that may not be called',
  connect_error: 'could not be reached',
  reset: 'ended the connection before the answer was complete',
  too_large: 'answered more than 5 MiB',
  redirect: 'answered with a redirect, which is not followed',
  bad_encoding: 'answered in an encoding that cannot be read',
  aborted: 'was not waited for',
};

/**
 * Sends the buyer's parameters to a seller. The call id is the `Idempotency-Key`, so a seller that honours it works once however
 * often it is asked. Delivered means a 2xx answer, complete and in time; everything else is a failure and costs nothing.
 * @param moreHeaders beside those that are signed.
 */
export async function forward(deps: ForwardDeps, call: Pick<OpenCall, 'id' | 'buyer' | 'paramsJson' | 'refundable'>, candidate: Candidate,
    timeoutMs: number, moreHeaders: Readonly<Record<string, string>> = {}): Promise<Forwarded> {
  const startedAt = new Date();
  const entry = (outcome: string, httpStatus: number | null, message: string | null, latencyMs: number): AttemptLog =>
    ({ seller: candidate.seller, serviceId: candidate.serviceId, priceMicros: candidate.priceMicros, outcome, httpStatus, message,
      startedAt: startedAt.toISOString(), latencyMs });
  const failed = (outcome: string, httpStatus: number | null, message: string, latencyMs: number, mayHaveWorked = false): Forwarded =>
    ({ tag: 'failed', reason: `${candidate.serviceName} ${message}`, log: entry(outcome, httpStatus, message, latencyMs), mayHaveWorked });

  if (!deps.breaker.allows(candidate.endpoint)) return failed('circuit_open', null,
    'failed several times in a row and is left alone for a moment', 0);
  const sent = deps.outbound.postJson({
    url: candidate.endpoint, body: call.paramsJson, timeoutMs,
    headers: Object.assign(deps.signer.headersFor({
      method: 'POST', path: pathOf(candidate.endpoint), amount: formatMicros(candidate.priceMicros), from: call.buyer, to: candidate.seller,
      ref: call.id, idempotencyKey: call.id, refundable: call.refundable, body: call.paramsJson,
    }), moreHeaders),
  });
  deps.crash.during('forwarding');
  const result = await sent;
  deps.crash.at('seller-answered');

  if (result.tag !== 'answered') {
    deps.breaker.report(candidate.endpoint, false);
    return failed(result.tag, null, failures[result.tag], result.latencyMs, result.maySellerHaveWorked);
  }
  const { status, latencyMs } = result;
  deps.breaker.report(candidate.endpoint, status < 500 && status !== 429);
  if (status < 200 || status > 299) return failed('error_answer', status, `answered with HTTP ${status}`, latencyMs);
  return { tag: 'delivered', httpStatus: status, responseJson: objectText(result.bodyText), latencyMs,
    log: entry('delivered', status, null, latencyMs) };
}

const paths = new Map<string, string>();
const PATHS_MAX = 10_000;

/** Path and query of an endpoint; parsing a URL for every call would be a waste. */
function pathOf(endpoint: string): string {
  let path = paths.get(endpoint);
  if (path === undefined) {
    const url = new URL(endpoint);
    path = url.pathname + url.search;
    if (paths.size >= PATHS_MAX) paths.clear();
    paths.set(endpoint, path);
  }
  return path;
}

/** The answer as a JSON object, which is what clients expect: other JSON and plain text become `{raw}`, nothing becomes null. */
function objectText(body: string): string | null {
  const text = body.trim();
  if (text === '') return null;
  if (text.startsWith('{')) {
    try {
      JSON.parse(text);
      return text;
    } catch {
      // Not JSON after all; it goes on as text.
    }
  }
  return JSON.stringify({ raw: body });
}
