/** What an escrow's workflow may have done: look whether its time is up, and take a step for an operator. One SQL function each. */
import { SuretyError } from '../../domain/errors.ts';
import { escrowBounds, escrowRoles, roleOfStep, rulings, type Escrow, type EscrowAct, type EscrowActor, type EscrowStep } from '../../domain/escrow.ts';
import { isAddress, normaliseAddress } from '../../domain/ids.ts';
import { parseAmount } from '../../domain/money.ts';
import type { Crash } from '../../platform/crash.ts';
import { lateRefusal, type EscrowStore } from './store.ts';

/** Where the row stands, as its workflow knows it; a `PaymentView`. */
export interface EscrowView {
  readonly version: number;
  readonly state: string;
  readonly ended: boolean;
  readonly deadlineMs: number | null;
}

export interface EscrowActivities {
  /** Ends the escrow if the database's clock says that its deadline has passed. */
  lookAtEscrow(input: { id: string }): Promise<EscrowView>;
  /** Takes a step that came by update or signal. `input` is what the operator sent: anything at all. */
  takeEscrowStep(input: { id: string; step: EscrowStep; input: unknown }): Promise<EscrowView>;
}

export interface EscrowActivityDeps {
  readonly store: EscrowStore;
  readonly crash: Crash;
  /** The same for every run of one activity: a step is not taken twice when the worker dies before it could say that it was taken. */
  readonly activityKey: () => string;
}

export function createEscrowActivities({ store, crash, activityKey }: EscrowActivityDeps): EscrowActivities {
  /** The workflow learns it from our answer; nobody needs to tell it. */
  async function known(escrow: Escrow): Promise<EscrowView> {
    await store.told(escrow.id, escrow.version);
    return viewOf(escrow);
  }

  return {
    async lookAtEscrow({ id }) {
      const escrow = await store.look(id);
      crash.at('escrow-looked');
      if (escrow === null) throw new SuretyError('not_found', 'There is no such escrow.');
      return known(escrow);
    },

    async takeEscrowStep({ id, step, input }) {
      const { actor, act } = readStep(step, input);
      const { outcome, escrow } = await store.step(id, actor, act, { key: activityKey(), requestHash: step });
      crash.at('escrow-moved');
      const view = await known(escrow);
      if (outcome === 'late') throw lateRefusal(escrow);
      return view;
    },
  };
}

/** What the workflow needs of a row. */
export function viewOf({ version, status, deadline }: Escrow): EscrowView {
  return { version, state: status, ended: deadline === null, deadlineMs: deadline?.getTime() ?? null };
}

/** What Postgres has no text for: NUL, and halves of characters. */
// eslint-disable-next-line no-control-regex -- the character is the point
const UNSTORABLE = /\u0000|\p{Surrogate}/u;

/**
 * Reads what an operator sent with an update or signal. The names of the fields are those of the HTTP routes.
 * @throws SuretyError validation_error, invalid_amount, invalid_address.
 */
export function readStep(step: EscrowStep, input: unknown): { actor: EscrowActor; act: EscrowAct } {
  const fields = (typeof input === 'object' && input !== null ? input : {}) as Record<string, unknown>;
  const as = fields['by'] === undefined ? roleOfStep[step] : escrowRoles.find((role) => role === fields['by']);
  if (as === null || as === undefined) throw wrong('by', `must be one of ${escrowRoles.join(', ')}`);
  const actor: EscrowActor = { address: null, as };
  const text = (field: string, max: number): string => {
    const value = fields[field];
    if (typeof value !== 'string' || value.trim() === '' || value.length > max || UNSTORABLE.test(value)) throw wrong(field, `must be text of 1 to ${max} characters`);
    return value.trim();
  };
  switch (step) {
    case 'dispute': return { actor, act: { step, reason: text('reason', escrowBounds.textMax) } };
    case 'evidence': return { actor, act: { step, content: text('content', escrowBounds.textMax) } };
    case 'arbitrate': {
      const named = fields['arbitratorAddr'];
      if (named !== undefined && (typeof named !== 'string' || !isAddress(named))) throw new SuretyError('invalid_address', 'arbitratorAddr: must be 0x followed by 40 hexadecimal digits');
      return { actor, act: { step, arbiter: named === undefined ? null : normaliseAddress(named) } };
    }
    case 'resolve': {
      const ruling = rulings.find((known) => known === fields['resolution']);
      if (ruling === undefined) throw wrong('resolution', `must be one of ${rulings.join(', ')}`);
      const amount = fields['releaseAmount'] ?? fields['partialAmount'];
      const reason = fields['reason'] === undefined ? null : text('reason', escrowBounds.reasonMax);
      return { actor, act: { step, ruling, amountMicros: ruling === 'partial' ? parseAmount(typeof amount === 'string' ? amount : '') : null, reason } };
    }
    default: return { actor, act: { step } };
  }
}

function wrong(field: string, message: string): SuretyError {
  return new SuretyError('validation_error', `${field}: ${message}`, { details: [{ field, message }] });
}
