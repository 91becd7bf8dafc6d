/** What the workflow of a multistep escrow may have done: the same SQL functions as over HTTP, in the name of the buyer. */
import { SuretyError } from '../../domain/errors.ts';
import { isAddress, normaliseAddress } from '../../domain/ids.ts';
import { parseAmount } from '../../domain/money.ts';
import type { MultistepAnswer, MultistepEscrow, StepClaim } from '../../domain/multistep.ts';
import type { Crash } from '../../platform/crash.ts';
import type { MultistepStore, StepTaker } from './store.ts';

/** Where an escrow stands, as its workflow keeps it. JSON. */
export interface MultistepView {
  readonly version: number;
  readonly state: string;
  readonly ended: boolean;
  readonly deadlineMs: number;
}

export interface MultistepActivities {
  /** Does what the clock demands. */
  lookAtMultistep(input: { id: string }): Promise<MultistepView>;
  /**
   * @param input `step` as a person sent it: checked here. `key`: of the message it came by; the same key takes a step once.
   * Errors: validation_error, invalid_amount, invalid_address, and those of the step.
   */
  confirmMultistepStep(input: { id: string; step: unknown; key: string }): Promise<MultistepView>;
  refundMultistep(input: { id: string; key: string }): Promise<MultistepView>;
}

export interface MultistepActivityDeps {
  readonly store: MultistepStore;
  readonly crash: Crash;
}

/** What the workflow needs to know of an escrow. */
export function viewOf({ version, status, deadline }: MultistepEscrow): MultistepView {
  return { version, state: status, ended: status !== 'open', deadlineMs: deadline.getTime() };
}

export function createMultistepActivities({ store, crash }: MultistepActivityDeps): MultistepActivities {
  /** The workflow hears of the escrow by the answer of the activity, so nobody has to tell it any more. */
  async function heard(escrow: MultistepEscrow): Promise<MultistepView> {
    await store.told(escrow);
    return viewOf(escrow);
  }

  /** A local activity runs again when its worker dies; with a key the step it took is not refused as taken before. */
  async function message({ id, key, says }: Message, take: (taker: StepTaker) => Promise<MultistepAnswer>): Promise<MultistepView> {
    crash.at('multistep-message');
    // The space keeps it apart from every key that a client can send.
    const { escrow } = await take({ id, caller: null, idempotency: { key: `message ${key}`, requestHash: `${id} ${says}` } });
    crash.at('multistep-message-taken');
    return heard(escrow);
  }

  return {
    async lookAtMultistep({ id }) {
      crash.at('multistep-due');
      const escrow = await store.look(id);
      crash.at('multistep-looked');
      return heard(escrow);
    },
    async confirmMultistepStep({ id, step, key }) {
      const claim = readStep(step);
      const says = `confirm ${claim.stepIndex} ${claim.seller} ${claim.amountMicros}`;
      return message({ id, key, says }, (taker) => store.confirmStep(taker, claim));
    },
    refundMultistep: ({ id, key }) => message({ id, key, says: 'refund' }, (taker) => store.refund(taker)),
  };
}

/** `says`: what is to be done, so that an id used again for something else is refused and not answered with the first. */
interface Message {
  readonly id: string;
  readonly key: string;
  readonly says: string;
}

/** @throws SuretyError validation_error, invalid_address, invalid_amount. */
function readStep(input: unknown): StepClaim {
  const { stepIndex, sellerAddr, amount } = (typeof input === 'object' && input !== null ? input : {}) as Record<string, unknown>;
  if (typeof stepIndex !== 'number' || !Number.isSafeInteger(stepIndex)) throw new SuretyError('validation_error',
    'stepIndex: must be a whole number, as in {"stepIndex": 0}');
  if (sellerAddr !== undefined && !(typeof sellerAddr === 'string' && isAddress(sellerAddr))) throw new SuretyError('invalid_address',
    'sellerAddr: must be 0x followed by 40 hexadecimal digits');
  if (amount !== undefined && typeof amount !== 'string') throw new SuretyError('invalid_amount',
    'amount: must be a decimal string such as "1.50"');
  return { stepIndex, seller: sellerAddr === undefined ? null : normaliseAddress(sellerAddr), amountMicros: amount === undefined
    ? null : parseAmount(amount) };
}
