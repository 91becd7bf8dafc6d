/**
 * The link with which a seller says that a long call is done, without an API key: a text that only this platform can sign, good for one
 * call and one seller until its time is up.
 */
import { timingSafeEqual } from 'node:crypto';
import type { SellerSigner } from './seller-signature.ts';

/** Whose link, and until when it is good. */
export interface CallLink {
  readonly callId: string;
  readonly seller: string;
  readonly deadlineMs: number;
}

export interface CallLinks {
  /** The text that stands in the link. A secret of the seller: never to be logged. */
  tokenFor(link: CallLink): string;
  /** Whether the text was made for this call and this seller, and its time is not up. */
  isGood(token: string, of: Omit<CallLink, 'deadlineMs'>, now?: number): boolean;
}

/** @param signer whose key every process that shares the database has. */
export function createCallLinks(signer: Pick<SellerSigner, 'sign'>): CallLinks {
  // What is signed for sellers begins with another word, so neither can be passed off as the other.
  const sign = ({ callId, seller, deadlineMs }: CallLink): string => signer.sign(`call-link\n${callId}\n${seller}\n${deadlineMs}`);
  return {
    tokenFor: (link) => `${link.deadlineMs.toString(36)}.${sign(link)}`,
    isGood(token, of, now = Date.now()) {
      const [, time = '', signature = ''] = /^([0-9a-z]{1,10})\.([\w-]{86})$/.exec(token) ?? [];
      const deadlineMs = Number.parseInt(time, 36);
      // Such signatures are the same each time, so it is enough to make it again.
      return deadlineMs > now && timingSafeEqual(Buffer.from(sign({ ...of, deadlineMs })), Buffer.from(signature));
    },
  };
}
