/**
 * Which network addresses Surety may call on behalf of somebody else. Sellers choose their endpoints, so without this they could
 * make the platform read its own metadata service, its database or its neighbours.
 */
import dns from 'node:dns';
import type { LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { SuretyError } from '../domain/errors.ts';

/** A connection that was not made, because of where it would have led. */
export class RefusedAddressError extends Error {
  readonly code = 'SURETY_REFUSED_ADDRESS';
}

export interface AddressGuard {
  /** May this IP address be called? False also for text that is none. */
  allows(ip: string): boolean;
  /** Node's lookup, which fails with a {@link RefusedAddressError} when any address of the name may not be called. */
  readonly lookup: LookupFunction;
}

const localRanges = new Set(['loopback', 'private', 'uniqueLocal']);
/** Cloud metadata services inside ranges that may otherwise be local. */
const neverAllowed = new Set(['fd00:ec2::254']);
/** Where the addresses of the public internet are; everything else in IPv6 is special or embeds an IPv4 address. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');

/** @param allowLocal also loopback and private networks; link-local (cloud metadata) and the rest stay refused. */
export function createAddressGuard({ allowLocal }: { readonly allowLocal: boolean }): AddressGuard {
  function allows(ip: string): boolean {
    if (neverAllowed.has(ip) || !ipaddr.isValid(ip)) return false;
    // `process` turns IPv4-mapped IPv6 into the IPv4 address that is really called.
    const address = ipaddr.process(ip);
    const range = address.range();
    if (range === 'unicast') return address instanceof ipaddr.IPv4 || address.match(globalUnicast);
    return allowLocal && localRanges.has(range);
  }

  const lookup: LookupFunction = (hostname, options, callback) => {
    dns.lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) {
        callback(error, '', 0);
        return;
      }
      // One bad address among good ones is not an accident: a name is refused as a whole.
      const bad = found.find(({ address }) => !allows(address));
      const [first] = found;
      if (bad !== undefined
        || first === undefined) callback(new RefusedAddressError(`${hostname} leads to an address that may not be called`), '', 0);
      else if (options.all === true) callback(null, found);
      else callback(null, first.address, first.family);
    });
  };
  return { allows, lookup };
}

const blockedNames = /(?:^|\.)(?:localhost|internal|local)$/;
const RESOLVE_MS_MAX = 2_000;

/** An endpoint as far as it can be judged without asking anybody. */
export interface Endpoint {
  readonly origin: string;
  /** Path and query. */
  readonly path: string;
  readonly pathname: string;
  readonly hostname: string;
}

/**
 * Reads an endpoint. Unusual spellings of an IP address (decimal, octal, hexadecimal, full-width digits) are resolved by the URL
 * parser, so what is judged is what would be called.
 * @throws SuretyError `invalid_endpoint`.
 */
export function readEndpoint(text: string, guard: AddressGuard, allowLocal: boolean): Endpoint {
  const refuse = (why: string): never => {
    throw new SuretyError('invalid_endpoint', `The endpoint ${why}.`);
  };
  if (text.length > 2_000) refuse('is longer than 2000 characters');
  const url = URL.canParse(text) ? new URL(text) : refuse('is not an absolute URL');
  if (url.protocol !== 'http:' && url.protocol !== 'https:') refuse('must be http or https');
  if (url.username !== '' || url.password !== '') refuse('must not contain a user name or password');
  const hostname = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  if (hostname === '') refuse('names no host');
  if (ipaddr.isValid(hostname) ? !guard.allows(hostname) : !allowLocal && blockedNames.test(hostname)) {
    refuse('leads to an address that may not be called');
  }
  return { origin: url.origin, path: url.pathname + url.search, pathname: url.pathname, hostname };
}

/**
 * Judges an endpoint when it is registered. A name that does not resolve yet passes: it is judged again at each connection.
 * @throws SuretyError `invalid_endpoint`.
 */
export async function checkEndpoint(text: string, guard: AddressGuard, allowLocal: boolean): Promise<Endpoint> {
  const endpoint = readEndpoint(text, guard, allowLocal);
  if (ipaddr.isValid(endpoint.hostname)) return endpoint;
  const failure = await resolutionError(endpoint.hostname, guard);
  if (failure instanceof RefusedAddressError) throw new SuretyError('invalid_endpoint',
    'The endpoint leads to an address that may not be called.');
  return endpoint;
}

function resolutionError(hostname: string, guard: AddressGuard): Promise<Error | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), RESOLVE_MS_MAX);
    guard.lookup(hostname, { all: true }, (error) => {
      clearTimeout(timer);
      resolve(error);
    });
  });
}
