/** How the demo's sellers know that a request comes from the platform: the check of docs/sellers.md, with the keys kept for a while. */
import type { JsonWebKey } from 'node:crypto';
import { verifySellerRequest, type Received } from '../../platform/seller-signature.ts';

/** What the sellers are told once they have registered. */
export interface Introduction {
  readonly platformUrl: string;
  /** The seller's address, by the path of its endpoint. */
  readonly addresses: Readonly<Record<string, string>>;
}

export interface Trust {
  introduce(introduction: Introduction): void;
  /** Is this request signed by the platform, and meant for the seller at that path? */
  check(received: Received): Promise<boolean>;
}

/** Until the introduction nobody is believed. */
export function createTrust(): Trust {
  let known: Introduction | undefined;
  let keys: JsonWebKey[] = [];

  async function fetchKeys(platformUrl: string): Promise<void> {
    const response = await fetch(`${platformUrl}/.well-known/surety-keys.json`);
    keys = ((await response.json()) as { keys: JsonWebKey[] }).keys;
  }

  return {
    introduce(introduction) {
      known = introduction;
      keys = [];
    },
    async check(received) {
      const seller = known?.addresses[received.path];
      if (known === undefined || seller === undefined) return false;
      const verdict = verifySellerRequest(received, { keys, seller });
      if (verdict !== 'unknown_key') return verdict === 'ok';
      // The key is new to us: the first request of all, or the platform has changed its key.
      await fetchKeys(known.platformUrl);
      return verifySellerRequest(received, { keys, seller }) === 'ok';
    },
  };
}
