/** A step in which nobody waits: the seller takes the order, works on, and is paid when it delivers. */
import { coins, readAmount } from '../money-words.ts';
import { openSession, player, type Play } from '../play.ts';
import type { Story } from '../story.ts';
import type { Json } from '../wire.ts';
import { repositoryFile } from './buying.ts';

const TEXT_FILE = 'docs/long-calls.md';
const PRICE = '0.150000';

export async function tellLongCall(story: Story, play: Play): Promise<void> {
  await story.tell(`Atlas orders a deep reading of ${TEXT_FILE} and does not wait for it`, async (step) => {
    const [atlas, seller] = [player(play, 'atlas'), player(play, 'nightShift')];
    const session = await openSession(play, step, atlas, { maxTotal: '0.50' });
    const asked = { apiKey: atlas.apiKey, token: session.token };
    const accepted = await play.wire.ask('POST', '/v1/gateway/proxy',
      { ...asked, body: { serviceType: 'deep-reading', params: { text: await repositoryFile(TEXT_FILE) }, async: true } });
    step.check('The order is accepted at once, with 202 and where to ask', accepted.status === 202, accepted.body);
    const { callId, deadline } = accepted.body;
    step.say(`${seller.name} has time until ${String(deadline).slice(11, 19)} UTC. Meanwhile 0.15 is set aside, and nobody is paid.`);
    const path = `/v1/gateway/calls/${callId}`;
    const states: string[] = [];
    const ended = async (): Promise<Json> => {
      for (;;) {
        const { call } = await play.wire.must('GET', path, asked);
        const now = call.long.percent === undefined ? call.long.state : `${call.long.state}, ${call.long.percent} %`;
        if (states.at(-1) !== now) states.push(now as string);
        if (call.long.state === 'settled' || call.long.state === 'released') return call;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    };
    const call = await step.wait(`${seller.name} works`, ended());
    step.say(`The order was ${states.join(' → ')}.`);
    step.check('The seller began, said how far it was, and delivered', call.long.state === 'settled'
      && call.response.output.words > 100, call);
    play.purchases.push({ buyer: atlas.address, seller: seller.address, amountMicros: readAmount(PRICE) });
    step.money(`${atlas.name} pays ${coins(readAmount(PRICE))} to ${seller.name}, who delivered through the link of the order.`);
    const late = await play.wire.ask('POST', `${path}/cancel`, { apiKey: atlas.apiKey, body: {} });
    step.check('What is delivered cannot be cancelled any more', late.status === 409, late.body);
  });
}
