/**
 * How often one client may ask. A valid key has a budget of its own; everything else shares the budget of the address it comes
 * from. Text that was not checked never names a budget, or every made-up key would come with a fresh one.
 */
import { isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { SuretyError } from '../../domain/errors.ts';

const WINDOW_SECS = 60;

export interface RateLimit {
  /** Counts a request of a valid key. @throws SuretyError `rate_limit_exceeded`. */
  countKey(keyId: string): Promise<void>;
  /** Counts a request without a valid key. @throws SuretyError `rate_limit_exceeded`. */
  countAddress(ip: string): Promise<void>;
}

/** @param rpm steady requests a minute. @param burst requests above that which one minute may hold. */
export function createRateLimit({ rpm, burst }: { readonly rpm: number; readonly burst: number }): RateLimit {
  const options = { points: rpm + burst, duration: WINDOW_SECS };
  const byKey = new RateLimiterMemory({ ...options, keyPrefix: 'key' });
  const byAddress = new RateLimiterMemory({ ...options, keyPrefix: 'ip' });
  return {
    countKey: (keyId) => consume(byKey, keyId),
    countAddress: (ip) => consume(byAddress, networkOf(ip)),
  };
}

export interface MissLimit {
  /** @throws SuretyError `rate_limit_exceeded` while this client has missed too often; what it asks then is not even looked at. */
  check(client: string): Promise<void>;
  /** Notes a miss. */
  count(client: string): Promise<void>;
}

/** Stops those who try one secret after another. Misses are counted and hits are not, so that honest clients are free. */
export function createMissLimit({ missesMax, keyPrefix }: { readonly missesMax: number; readonly keyPrefix: string }): MissLimit {
  const limiter = new RateLimiterMemory({ points: missesMax, duration: WINDOW_SECS, keyPrefix });
  return {
    async check(client) {
      const known = await limiter.get(client);
      if (known !== null && known.remainingPoints <= 0) throw tooMany(known);
    },
    count: async (client) => void (await limiter.penalty(client)),
  };
}

function tooMany({ msBeforeNext }: RateLimiterRes): SuretyError {
  return new SuretyError('rate_limit_exceeded', 'Too many requests.', { retryAfterSecs: Math.max(1, Math.ceil(msBeforeNext / 1_000)) });
}

async function consume(limiter: RateLimiterMemory, key: string): Promise<void> {
  try {
    await limiter.consume(key);
  } catch (refusal) {
    if (!(refusal instanceof RateLimiterRes)) throw refusal;
    throw tooMany(refusal);
  }
}

/** One household or server owns a whole IPv6 /64; counting single addresses there would count nothing. */
export function networkOf(ip: string): string {
  if (!isIPv6(ip)) return ip;
  const parsed = ipaddr.IPv6.parse(ip);
  if (parsed.isIPv4MappedAddress()) return parsed.toIPv4Address().toString();
  return parsed.parts.slice(0, 4).map((part) => part.toString(16)).join(':');
}
