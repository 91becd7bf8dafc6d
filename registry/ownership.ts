/**
 * Proof that somebody controls an address: the server writes a message with a nonce, the key of the address signs it (EIP-191,
 * what wallets call personal_sign), and each message is good for one use.
 */
import { randomBytes } from 'node:crypto';
import { Signature, verifyMessage } from 'ethers';
import { SuretyError } from '../domain/errors.ts';
import { newId } from '../platform/random.ts';
import type { Db, Prisma } from '../prisma/client.ts';

/** A message to sign. */
export interface Challenge {
  readonly challengeId: string;
  readonly message: string;
  readonly expiresAt: Date;
}

/** What the caller brings back. */
export interface OwnershipProof {
  readonly challengeId: string;
  /** 65 bytes in hex, with or without 0x; v may be 0, 1, 27 or 28. */
  readonly signature: string;
}

export interface Ownership {
  /** Writes a message for the address (lower case) to sign. Anybody may ask; only the key of the address can answer. */
  challenge(address: string): Promise<Challenge>;
  /**
   * Checks the proof and uses its challenge up inside the caller's transaction: when that is rolled back, the challenge is unused.
   * Errors: proof_required (unknown, used, expired, or made for another address), invalid_signature.
   */
  consume(tx: Prisma.TransactionClient, address: string, proof: OwnershipProof): Promise<void>;
}

const challengeLifeMs = 10 * 60_000;

/** The text that is signed. It names its purpose and its limits, so that a person who reads it in a wallet knows what it does. */
function challengeMessage(address: string, nonce: string, expiresAt: Date): string {
  return [
    'Surety: prove that you control this address.',
    '',
    'Signing registers the address on Surety, or issues a new API key for it. It moves no money.',
    '',
    `Address: ${address}`,
    `Nonce: ${nonce}`,
    `Expires: ${expiresAt.toISOString()}`,
  ].join('\n');
}

/**
 * The address that signed the message, in lower case, or null when the text is no signature at all.
 * High-s twins are accepted: a challenge is good once, so a second form of a signature gains nothing.
 */
export function recoverSigner(message: string, signature: string): string | null {
  const digits = /^(?:0[xX])?([0-9a-fA-F]{128})(00|01|1[bB]|1[cC])$/.exec(signature);
  if (digits === null) return null;
  try {
    return verifyMessage(message, Signature.from(`0x${digits[1]}${digits[2]}`).getCanonical()).toLowerCase();
  } catch {
    return null;
  }
}

const refuse = (message: string): SuretyError => new SuretyError('proof_required', message);

/** Creates the keeper of challenges. */
export function createOwnership({ db }: { db: Db }): Ownership {
  return {
    async challenge(address) {
      const expiresAt = new Date(Date.now() + challengeLifeMs);
      const row = { id: newId('challenge'), address, message: challengeMessage(address, randomBytes(16).toString('hex'), expiresAt),
        expiresAt };
      await db.ownershipChallenge.create({ data: row });
      return { challengeId: row.id, message: row.message, expiresAt };
    },

    async consume(tx, address, proof) {
      // The write is the check: of two requests with one challenge, the second waits here and then finds it used.
      const used = await tx.ownershipChallenge.updateManyAndReturn({
        where: { id: proof.challengeId, address, usedAt: null, expiresAt: { gt: new Date() } },
        data: { usedAt: new Date() },
      });
      const challenge = used[0];
      if (challenge === undefined) throw await whyNot(tx, address, proof.challengeId);
      if (recoverSigner(challenge.message, proof.signature) !== address) {
        throw new SuretyError('invalid_signature',
          'The signature was not made by the key of this address over the message of this challenge.');
      }
    },
  };
}

async function whyNot(tx: Prisma.TransactionClient, address: string, id: string): Promise<SuretyError> {
  const row = await tx.ownershipChallenge.findUnique({ where: { id } });
  if (row === null) return refuse('There is no such challenge; ask for a new one.');
  if (row.address !== address) return refuse('This challenge was made for another address.');
  if (row.usedAt !== null) return refuse('This challenge was used before; each is good once.');
  return refuse('This challenge has expired; ask for a new one.');
}
