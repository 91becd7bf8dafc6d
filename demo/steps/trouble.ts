/** Steps in which something goes wrong, and the money is safe all the same. */
import { randomUUID } from 'node:crypto';
import { balanceOf, buy, jobsAt, notePurchase, openSession, player, type Play } from '../play.ts';
import { putOnOffer } from '../cast.ts';
import { coins } from '../money-words.ts';
import type { Story } from '../story.ts';
import { repositoryFile } from './buying.ts';

export async function tellTrouble(story: Story, play: Play): Promise<void> {
  await tellFailover(story, play);
  await tellOverBudget(story, play);
  await tellRetry(story, play);
}

function tellFailover(story: Story, play: Play): Promise<void> {
  return story.tell('A seller is broken, so another one does the work', async (step) => {
    const atlas = player(play, 'atlas');
    await putOnOffer(play, 'bargainWords');
    step.say('Bargain Words joins the market: a quarter of the price of Word House, but every request ends in an error 500.');
    const session = await openSession(play, step, atlas, { maxTotal: '0.50', strategy: 'cheapest' });
    const answer = await buy(play, session, { serviceType: 'word-statistics', params: { text: await repositoryFile('package.json') } });
    step.say(`The cheapest seller was asked first and failed; the platform went on to the next one by itself.`);
    notePurchase(play, step, atlas, answer);
    const asked = await jobsAt(play, '/bargain-words');
    step.check('Bargain Words was asked, failed, and was not paid', asked.length === 1 && answer.retries === 1,
      { asked: asked.length, retries: answer.retries });
    step.check('Word House delivered and was paid', answer.serviceUsed === player(play, 'wordHouse').address, answer.serviceUsed);
    // Taken from the market again, so that the steps that follow are about something else.
    await putOnOffer(play, 'bargainWords', false);
  });
}

function tellOverBudget(story: Story, play: Play): Promise<void> {
  return story.tell('A call that does not fit the budget is refused before anybody works', async (step) => {
    const pico = player(play, 'pico');
    const session = await openSession(play, step, pico, { maxTotal: '0.06' });
    const wish = { serviceType: 'code-metrics', params: { source: 'export const answer = () => 42;\n' } };
    notePurchase(play, step, pico, await buy(play, session, wish));
    const before = await balanceOf(play, pico);
    const jobsBefore = (await jobsAt(play, '/code-lens')).length;
    const { status, body } = await play.wire.ask('POST', '/v1/gateway/proxy', { apiKey: pico.apiKey, token: session.token, body: wish });
    step.say('0.01 is left of the budget. Pico asks for the same again, which costs 0.05, and is told:');
    step.say(`  HTTP ${status} ${body.code}: ${body.message}`);
    step.say(`  funds_status: ${body.funds_status}. ${body.recovery}`);
    const after = await balanceOf(play, pico);
    step.money('Nothing moved.');
    step.check('The answer is 402 budget_exceeded and says that no money moved', status === 402 && body.code === 'budget_exceeded'
      && body.funds_status === 'no_change', { status, body });
    step.check('Pico has what it had before', after.availableMicros === before.availableMicros && after.heldMicros === before.heldMicros);
    step.check('The seller was not asked', (await jobsAt(play, '/code-lens')).length === jobsBefore);
  });
}

function tellRetry(story: Story, play: Play): Promise<void> {
  return story.tell('The same request is sent three times and paid once', async (step) => {
    const atlas = player(play, 'atlas');
    const session = await openSession(play, step, atlas, { maxTotal: '0.50' });
    const wish = { serviceType: 'chart',
      params: { title: 'Once is enough', points: [{ label: 'sent', value: 3 }, { label: 'paid', value: 1 }] },
      idempotencyKey: `demo-${randomUUID()}` };
    step.say(`Atlas sends a request with an Idempotency-Key twice at the same moment, and once more later (${wish.idempotencyKey}).`);
    const jobsBefore = (await jobsAt(play, '/chart-studio')).length;
    const [first, twin] = await Promise.all([buy(play, session, wish), buy(play, session, wish)]);
    const later = await buy(play, session, wish);
    notePurchase(play, step, atlas, first);
    const answers = [first, twin, later].map((answer) => JSON.stringify(answer.response));
    step.check('All three got the same answer', new Set(answers).size === 1);
    step.check('It was charged once: 0.04 of the budget is spent', later.totalSpent === '0.040000', later.totalSpent);
    const jobs = (await jobsAt(play, '/chart-studio')).slice(jobsBefore);
    step.check('The seller worked once', jobs.length === 1 && jobs[0]?.worked === 1, jobs);
    const other = await play.wire.ask('POST', '/v1/gateway/proxy', {
      apiKey: atlas.apiKey, token: session.token, idempotencyKey: wish.idempotencyKey,
      body: { serviceType: 'chart', params: { title: 'Something else' } },
    });
    step.say(`The same key with another request is refused: HTTP ${other.status} ${other.body.code}.`);
    step.check('A key cannot be used for a second, different request', other.status === 422 && other.body.code === 'idempotency_mismatch',
      other);
    const { heldMicros } = await balanceOf(play, atlas);
    step.figure('heldMicros', heldMicros.toString());
    step.money(`In its open sessions, Atlas still has ${coins(heldMicros)} set aside.`);
  });
}
