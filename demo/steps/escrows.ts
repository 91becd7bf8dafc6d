/** Steps about work that takes days in life: the money waits in escrow until the buyer, an arbiter or the clock decides. */
import { setTimeout as sleep } from 'node:timers/promises';
import { coins, readAmount } from '../money-words.ts';
import { player, type Play, type Player } from '../play.ts';
import type { Step, Story } from '../story.ts';
import type { Json } from '../wire.ts';

/** Short here, days in life. */
const DELIVERY_TIME = '3s';
const PATIENCE_MS = 20_000;

interface Deal {
  readonly buyer: Player;
  readonly seller: Player;
  readonly amount: string;
  readonly autoRelease: string;
  readonly arbitratorAddr?: string;
}

/** Locks the money and tells of it. @returns the escrow as the platform shows it. */
async function agree(play: Play, step: Step, { buyer, seller, ...terms }: Deal): Promise<Json> {
  const { escrow } = await play.wire.must('POST', '/v1/escrow',
    { apiKey: buyer.apiKey, body: { buyerAddr: buyer.address, sellerAddr: seller.address, ...terms } });
  step.money(`${buyer.name} locks ${coins(readAmount(escrow.amount))} for ${seller.name}. Look at its workflow: `
    + `${play.house.workflowUrl(escrow.workflowId as string)}`);
  return escrow;
}

async function act(play: Play, who: Player, escrow: Json, step: string, body: Readonly<Record<string, unknown>> = {}): Promise<Json> {
  return (await play.wire.must('POST', `/v1/escrow/${escrow.id}/${step}`, { apiKey: who.apiKey, body })).escrow;
}

/** What the seller received in the end, for the balances that are compared later. */
function notePaid(play: Play, buyer: Player, seller: Player, amount: unknown): void {
  play.purchases.push({ buyer: buyer.address, seller: seller.address, amountMicros: readAmount(amount) });
}

export async function tellEscrows(story: Story, play: Play): Promise<void> {
  await tellConfirmed(story, play);
  await tellDisputed(story, play);
  await tellForgotten(story, play);
}

function tellConfirmed(story: Story, play: Play): Promise<void> {
  return story.tell('Atlas orders a long report from Code Lens, and pays when it is there', async (step) => {
    const [atlas, codeLens] = [player(play, 'atlas'), player(play, 'codeLens')];
    const escrow = await agree(play, step, { buyer: atlas, seller: codeLens, amount: '3.00', autoRelease: '24h' });
    await act(play, codeLens, escrow, 'deliver');
    step.say('Code Lens says that it has delivered; Atlas has a day to look at it.');
    const done = await act(play, atlas, escrow, 'confirm');
    notePaid(play, atlas, codeLens, done.releasedAmount);
    step.money(`Atlas confirms, and ${coins(readAmount(done.releasedAmount))} goes to Code Lens.`);
    const again = await play.wire.ask('POST', `/v1/escrow/${escrow.id}/confirm`, { apiKey: atlas.apiKey, body: {} });
    step.check('The escrow is released, and confirming it again is refused', done.status === 'released' && again.status === 409,
      [done.status, again.status]);
  });
}

function tellDisputed(story: Story, play: Play): Promise<void> {
  return story.tell('Nova is not content, and the arbiter both had agreed on divides the money', async (step) => {
    const [nova, studio, pico] = [player(play, 'nova'), player(play, 'chartStudio'), player(play, 'pico')];
    const escrow = await agree(play, step,
      { buyer: nova, seller: studio, amount: '2.00', autoRelease: '24h', arbitratorAddr: pico.address });
    await act(play, studio, escrow, 'deliver');
    await act(play, nova, escrow, 'dispute', { reason: 'Three of the five charts have no labels.' });
    await act(play, studio, escrow, 'evidence', { content: 'The order did not ask for labels; two charts have them all the same.' });
    step.say('Nova disputes, Chart Studio answers; the money stays locked, and neither of them can choose another judge now.');
    const chosen = await play.wire.ask('POST', `/v1/escrow/${escrow.id}/arbitrate`,
      { apiKey: nova.apiKey, body: { arbitratorAddr: player(play, 'atlas').address } });
    await act(play, nova, escrow, 'arbitrate');
    const ruled = await act(play, pico, escrow, 'resolve',
      { resolution: 'partial', releaseAmount: '0.80', reason: 'Two of five are as ordered.' });
    notePaid(play, nova, studio, ruled.releasedAmount);
    step.money(`Pico rules: ${coins(readAmount(ruled.releasedAmount))} to Chart Studio, ${coins(readAmount(ruled.refundedAmount))} back `
      + `to Nova.`);
    step.check('A judge of her own choice was refused to Nova', chosen.status === 403, chosen.status);
    step.check('The two parts are the whole', ruled.releasedAmount === '0.800000' && ruled.refundedAmount === '1.200000',
      [ruled.releasedAmount, ruled.refundedAmount]);
    const { timeline } = (await play.wire.must('GET', `/v1/payments/${escrow.id}`, { apiKey: nova.apiKey }))
      .payment as { timeline: { what: string }[] };
    step.say(`What happened to this payment, as the platform tells it (GET /v1/payments/${escrow.id}):`);
    for (const { what } of timeline) step.say(`  ${what}`);
    step.check('The timeline tells of the dispute and of both parts of the money', timeline.length >= 6, timeline);
  });
}

function tellForgotten(story: Story, play: Play): Promise<void> {
  return story.tell('Slow Press forgets an order, and the clock gives Pico its money back', async (step) => {
    const [pico, press] = [player(play, 'pico'), player(play, 'slowPress')];
    const escrow = await agree(play, step, { buyer: pico, seller: press, amount: '0.20', autoRelease: DELIVERY_TIME });
    step.say(`Slow Press has ${DELIVERY_TIME} to deliver, and nobody does anything.`);
    const ended = await step.wait('the delivery time passes', untilEnded(play, pico, escrow.id as string));
    step.money(`${coins(readAmount(ended.refundedAmount))} is back with Pico (${ended.resolution}).`);
    step.check('The escrow is refunded, and nobody was paid', ended.status === 'refunded' && ended.releasedAmount === '0.000000', ended);
  });
}

async function untilEnded(play: Play, owner: Player, id: string): Promise<Json> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const { escrow } = await play.wire.must('GET', `/v1/escrow/${id}`, { apiKey: owner.apiKey });
    if (escrow.status === 'released' || escrow.status === 'refunded') return escrow;
    if (Date.now() > until) throw new Error(`The escrow is still ${escrow.status}.`);
    await sleep(200);
  }
}
