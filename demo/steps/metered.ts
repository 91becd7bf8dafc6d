/** Steps about work in parts: a pipeline that is bought whole or not at all, and a stream that is paid by the tick. */
import { coins, readAmount } from '../money-words.ts';
import { balanceOf, openSession, player, type Play } from '../play.ts';
import type { Story } from '../story.ts';
import { repositoryFile } from './buying.ts';

const TICKS_ONE_BY_ONE = 50;
const TICKS_AT_ONCE = 150;
const PRICE_PER_TICK = '0.002';

export async function tellMetered(story: Story, play: Play): Promise<void> {
  await tellPipeline(story, play);
  await tellStream(story, play);
}

function tellPipeline(story: Story, play: Play): Promise<void> {
  return story.tell('Atlas wants three steps or none; the third fails, and the first two are given back', async (step) => {
    const atlas = player(play, 'atlas');
    const before = await balanceOf(play, atlas);
    const session = await openSession(play, step, atlas, { maxTotal: '1.00' });
    const steps = [
      { serviceType: 'word-statistics', params: { text: await repositoryFile('CHANGELOG.md') } },
      { serviceType: 'code-metrics', params: { source: await repositoryFile('domain/ids.ts'), fileName: 'domain/ids.ts' } },
      // Points must be a list, and this is a text: the drawing fails.
      { serviceType: 'chart', params: { title: 'Longest function', points: '$prev.output.longestFunction.name' } },
    ];
    const { status, body } = await play.wire.ask('POST', '/v1/gateway/pipeline',
      { apiKey: atlas.apiKey, token: session.token, body: { steps, allOrNothing: true } });
    step.say(`The answer is HTTP ${status} ${body.code}: ${body.message}`);
    step.check('The pipeline failed at its third step', status === 502 && body.failedStep === 2, [status, body.failedStep]);
    const paid = readAmount(body.partialResult?.totalPaid ?? '0');
    step.check('Two sellers had delivered, and nothing was paid', paid === 0n && body.partialResult?.steps?.length >= 2,
      body.partialResult);
    await play.wire.must('DELETE', `/v1/gateway/sessions/${session.token}`, { apiKey: atlas.apiKey });
    const after = await balanceOf(play, atlas);
    step.money(`Atlas had ${coins(before.availableMicros)} before and has ${coins(after.availableMicros)} now.`);
    step.check('Atlas has every cent back', after.availableMicros === before.availableMicros);
  });
}

function tellStream(story: Story, play: Play): Promise<void> {
  const total = TICKS_ONE_BY_ONE + TICKS_AT_ONCE;
  return story.tell(`Nova reads a live feed of Word House, ${total} ticks at ${PRICE_PER_TICK} each`, async (step) => {
    const [nova, wordHouse] = [player(play, 'nova'), player(play, 'wordHouse')];
    const { stream } = await play.wire.must('POST', '/v1/streams', {
      apiKey: nova.apiKey,
      body: { buyerAddr: nova.address, sellerAddr: wordHouse.address, holdAmount: '1.00', pricePerTick: PRICE_PER_TICK },
    });
    step.money('Nova sets 1.00 aside for the stream; nobody is paid yet.');
    const path = `/v1/streams/${stream.id}`;
    for (let seq = 1; seq <= TICKS_ONE_BY_ONE; seq += 1) await play.wire.must('POST', `${path}/tick`,
      { apiKey: nova.apiKey, body: { seq } });
    const twice = await play.wire.ask('POST', `${path}/tick`, { apiKey: nova.apiKey, body: { seq: TICKS_ONE_BY_ONE } });
    await play.wire.must('POST', `${path}/ticks`,
      { apiKey: wordHouse.apiKey, body: { count: TICKS_AT_ONCE, fromSeq: TICKS_ONE_BY_ONE + 1 } });
    step.say(`${TICKS_ONE_BY_ONE} ticks came one by one from the buyer, ${TICKS_AT_ONCE} in one request from the seller's meter; one `
      + `that came twice was refused (${twice.body.code}).`);
    const { stream: closed } = await play.wire.must('POST', `${path}/close`, { apiKey: nova.apiKey, body: { reason: 'Read enough.' } });
    play.purchases.push({ buyer: nova.address, seller: wordHouse.address, amountMicros: readAmount(closed.spentAmount) });
    step.money(`Nova closes it: ${coins(readAmount(closed.spentAmount))} goes to Word House, the rest of the deposit is back.`);
    step.figure('ticks', closed.tickCount);
    step.check(`Every tick counts once: ${total} ticks, 0.40`, closed.tickCount === total && closed.spentAmount === '0.400000'
      && twice.status === 409, [closed.tickCount, closed.spentAmount, twice.status]);
  });
}
