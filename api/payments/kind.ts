/** A kind of payment, as `GET /v1/payments/:id` shows it. A new kind is one file that makes one of these, and a line in `all.ts`. */
import type pg from 'pg';
import type { Payments } from '../../payments/payments.ts';
import type { Db } from '../../prisma/client.ts';
import type { RoleOf, Source } from './timeline.ts';

/** Who takes part, and as what; a role can be there several times, such as the sellers of many steps. */
export interface Party {
  readonly role: 'buyer' | 'seller' | 'arbiter';
  readonly address: string;
}

export interface FoundPayment {
  readonly id: string;
  readonly state: string;
  /** Nothing will change any more. */
  readonly ended: boolean;
  /** In micros, by their names on the wire. */
  readonly amounts: Readonly<Record<string, bigint>>;
  readonly parties: readonly Party[];
  /** Null where no workflow was ever needed, such as a call that was refused. */
  readonly workflowId: string | null;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
  /**
   * What the timeline is made of, as this reader may see it.
   * @param reader a party's address, or `admin`.
   */
  readonly sources: (reader: string) => readonly Source[];
}

export interface PaymentKind {
  /** Its name in answers. */
  readonly kind: string;
  /** What its ids begin with, such as `esc_`. */
  readonly prefix: string;
  /** The payment with this id, or null. Errors: unavailable. */
  readonly find: (deps: KindDeps, id: string) => Promise<FoundPayment | null>;
}

export interface KindDeps {
  readonly reads: pg.Pool;
  readonly prisma: Db;
  readonly payments: Pick<Payments, 'read'>;
}

/** Names the parties in sentences: the first role an address has. */
export function rolesOf(parties: readonly Party[]): RoleOf {
  const roles = new Map(parties.toReversed().map(({ role, address }) => [address, `the ${role}`]));
  return (address) => roles.get(address) ?? null;
}

/** Milliseconds are what the wire shows. */
export function dateOf(atMicros: bigint): Date {
  return new Date(Number(atMicros / 1_000n));
}
