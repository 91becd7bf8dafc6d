/** Every kind of payment that can be looked up by its id. A new kind is added here, and nowhere else. */
import { callKind } from './call.ts';
import { cardKind } from './card.ts';
import { escrowKind } from './escrow.ts';
import type { PaymentKind } from './kind.ts';
import { multistepKind } from './multistep.ts';
import { pipelineKind } from './pipeline.ts';
import { sessionKind } from './session.ts';
import { streamKind } from './stream.ts';

const kinds: readonly PaymentKind[] = [callKind, sessionKind, escrowKind, cardKind, multistepKind, streamKind, pipelineKind];

/** The kind that an id belongs to, by its prefix; null for ids that no payment can have. */
export function kindOf(id: string): PaymentKind | null {
  return kinds.find(({ prefix }) => id.startsWith(prefix) && /^[0-9a-f]{24}$/.test(id.slice(prefix.length))) ?? null;
}
