import { defineSignal, defineUpdate } from '@temporalio/workflow';
import type { EscrowRole, EscrowStep } from '../../domain/escrow.ts';
import type { StepMessages } from '../keep.ts';

/** What may be sent with a step; the fields are those of the HTTP route of the same name. */
export interface EscrowStepInput {
  /** For whom the operator acts; needed for evidence, otherwise the party whose step it is. */
  readonly by?: EscrowRole;
  readonly reason?: string;
  readonly content?: string;
  readonly arbitratorAddr?: string;
  readonly resolution?: string;
  readonly releaseAmount?: string;
}

/** `surety-deliver` and so on, as an update that answers and as the signal of the same name. */
export function escrowMessages(step: EscrowStep): StepMessages<EscrowStepInput> {
  return { update: defineUpdate(`surety-${step}`), signal: defineSignal(`surety-${step}`) };
}
