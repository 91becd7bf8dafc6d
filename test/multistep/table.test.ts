/** Every step in every state by everybody, over HTTP: the exact status and code. Whatever the answer, the money is where the state says. */
import { multistepStatuses, multistepSteps, type MultistepStatus, type MultistepStep } from '../../domain/multistep.ts';
import type { Reply } from '../support/app.ts';
import type { Trader } from '../support/market.ts';
import { anOpenMultistep, confirm, moneyIn, read, refund, type OpenMultistep } from '../support/multistep.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';

const { platform } = createPlatformSuite({ WORKER_QUEUES: 'multistep' });

/** Refusals first: they must leave the escrow as it was for the one who may. */
const everybody = ['the seller of the step', 'another seller', 'a stranger', 'the admin', 'the buyer'] as const;
const leadsTo: Readonly<Record<MultistepStep, string>> = { 'confirm-step': '200 open', refund: '200 aborted' };
const fundsOf: Readonly<Record<MultistepStatus, string>> = {
  open: 'locked_in_escrow', completed: 'released_to_seller', aborted: 'returned',
};
const rows = multistepStatuses.flatMap((status) => multistepSteps.map((step) => [status, step] as const));

async function anEscrowIn(status: MultistepStatus): Promise<OpenMultistep> {
  const escrow = await anOpenMultistep(platform());
  if (status === 'completed') for (const n of [0, 1, 2]) await confirm(platform(), escrow, n);
  if (status === 'aborted') await refund(platform(), escrow);
  return escrow;
}

function take(escrow: OpenMultistep, step: MultistepStep, by: Trader | null): Promise<Reply> {
  if (by !== null) return step === 'refund' ? refund(platform(), escrow, by) : confirm(platform(), escrow, 0, { by });
  const body = { stepIndex: 0, sellerAddr: escrow.sellers[0]?.address, amount: '0.10' };
  const request = step === 'refund' ? {} : { body };
  return platform().ask('POST', `/v1/escrow/multistep/${escrow.id}/${step}`, { adminSecret: 'a-secret-for-tests', ...request });
}

test.each(rows)('%s, %s', async (status, step) => {
  const escrow = await anEscrowIn(status);
  const [own, another] = escrow.sellers;
  const who: Readonly<Record<(typeof everybody)[number], Trader | null | undefined>> = { 'the seller of the step': own,
    'another seller': another, 'a stranger': await platform().aTrader(), 'the admin': null, 'the buyer': escrow.buyer };
  for (const actor of everybody) {
    const by = who[actor];
    if (by === undefined) throw new Error('Three sellers were made.');
    const before = (await read(platform(), escrow)).body;
    const reply = await take(escrow, step, by);
    const label = `${reply.status} ${reply.body.error ?? reply.body.escrow.status}`;
    if (actor === 'the buyer' && status === 'open') expect(label).toBe(leadsTo[step]);
    else {
      const refused = actor === 'the buyer' ? '409 invalid_state' : actor === 'the admin' ? '401 unauthorized' : '403 unauthorized';
      expect([actor, label]).toEqual([actor, refused]);
      if (actor === 'the buyer') expect(reply.body).toMatchObject({ status, funds_status: fundsOf[status] });
      expect((await read(platform(), escrow)).body).toEqual(before);
    }
  }
  const paid = status === 'completed' ? 600_000 : status === 'open' && step === 'confirm-step' ? 100_000 : 0;
  const isOpen = status === 'open' && step === 'confirm-step';
  expect(await moneyIn(platform().db.pool, escrow.buyer))
    .toEqual({ available: isOpen ? 0 : 600_000 - paid, escrowed: isOpen ? 500_000 : 0 });
});
