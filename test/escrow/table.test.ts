/** Every step in every state by everybody: the exact status and code. Whatever the answer, the money is where the state says. */
import { escrowStatuses, escrowSteps } from '../../domain/escrow.ts';
import { bodies, setStage, type Cast, type EscrowStage } from '../support/escrows.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'escrow' });
let stage: EscrowStage;
beforeAll(async () => {
  stage = await setStage(platform());
}, 30_000);

type Who = keyof Cast | 'admin';
const everybody: readonly Who[] = ['buyer', 'seller', 'arbiter', 'stranger', 'admin'];
const P = 'pending', D = 'delivered', Q = 'disputed', A = 'arbitrating';

/** Whose step it is, and from which state to which. Everything that is not here is refused. */
const allowed: Readonly<Record<(typeof escrowSteps)[number],
    { readonly who: readonly Who[]; readonly to: Readonly<Record<string, string>> }>> = {
  deliver: { who: ['seller'], to: { [P]: D } },
  confirm: { who: ['buyer'], to: { [P]: 'released', [D]: 'released', [Q]: 'released' } },
  cancel: { who: ['buyer'], to: { [P]: 'refunded' } },
  decline: { who: ['seller'], to: { [P]: 'refunded', [D]: 'refunded', [Q]: 'refunded', [A]: 'refunded' } },
  dispute: { who: ['buyer'], to: { [P]: Q, [D]: Q } },
  evidence: { who: ['buyer', 'seller'], to: { [Q]: Q, [A]: A } },
  arbitrate: { who: ['buyer', 'seller'], to: { [Q]: A } },
  resolve: { who: ['arbiter'], to: { [Q]: 'released', [A]: 'released' } },
};
const rows = escrowStatuses.flatMap((status) => escrowSteps.map((step) => [status, step] as const));
const fundsOf = (status: string): string => ({ released: 'released_to_seller', refunded: 'returned' })[status] ?? 'locked_in_escrow';

test.each(rows)('%s, %s', async (status, step) => {
  const id = await stage.anEscrowIn(status, { terms: { buyerMayCancel: true } });
  const { who, to } = allowed[step];
  // Refusals first: they must leave the escrow as it was for the one who may.
  const order = [...everybody].sort((a, b) => Number(who.includes(a)) - Number(who.includes(b)));
  for (const actor of order) {
    const before = await stage.get(id);
    const reply = actor === 'admin'
      ? await platform().ask('POST', `/v1/escrow/${id}/${step}`, { adminSecret: 'a-secret-for-tests', body: bodies[step] })
      : await stage.step(id, step, stage.cast[actor]);
    const label = [actor, reply.status, reply.body.error ?? reply.body.escrow.status];
    if (!who.includes(actor)) {
      // Only a ruling may come from an admin without a key; here an arbiter is named.
      expect(label).toEqual([actor, actor === 'admin' && step !== 'resolve' ? 401 : 403, 'unauthorized']);
      expect(await stage.get(id)).toEqual(before);
    } else if (to[before['status'] ?? ''] === undefined) {
      expect(label).toEqual([actor, 409, 'invalid_state']);
      expect(reply.body).toMatchObject({ status: before['status'], funds_status: fundsOf(before['status'] ?? '') });
      expect(await stage.get(id)).toEqual(before);
    } else {
      expect(label).toEqual([actor, 200, to[before['status'] ?? '']]);
    }
  }
});

test.each(escrowSteps)('%s of an escrow that does not exist is 404', async (step) => {
  expect(stage.outcome(await stage.step('esc_000000000000000000000000', step, stage.cast.buyer))).toBe('404 not_found');
});
