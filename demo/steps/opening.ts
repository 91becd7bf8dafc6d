/** The first steps: agents join, prove who they are, and get money. */
import { buyers, join, putOnOffer } from '../cast.ts';
import { coins } from '../money-words.ts';
import { balanceOf, player, type Play } from '../play.ts';
import { demoSellers } from '../sellers/catalogue.ts';
import type { Story } from '../story.ts';

export async function tellOpening(story: Story, play: Play): Promise<void> {
  await story.tell('Sellers and buyers join', async (step) => {
    for (const seller of demoSellers) {
      play.players.set(seller.id, await join(play.wire, { name: seller.name, description: seller.description, role: 'seller' }));
      // The broken seller comes to the market later, in a step of its own.
      if (seller.comesLater === true) continue;
      await putOnOffer(play, seller.id);
      step.say(`${seller.name} sells "${seller.serviceType}" for ${seller.price} a call.`);
    }
    play.introduceSellers({ platformUrl: play.house.url,
      addresses: Object.fromEntries(demoSellers.map(({ id, path }) => [path, player(play, id).address])) });
    step.say('The sellers know the platform\'s public key, and work only for requests that it signed.');
    for (const { id, name, description } of buyers) play.players.set(id, await join(play.wire, { name, description, role: 'buyer' }));
    step.say(`${new Intl.ListFormat('en').format(buyers.map((one) => one.name))} want to buy. Each agent signed a message with the key `
      + `of its address, so nobody can pose as it.`);
    const stranger = await fetch(`${play.house.sellersUrl}/word-house`,
      { method: 'POST', headers: { 'x-payment-amount': '0.02' }, body: '{"text":"for free"}' });
    step.check('A stranger who asks a seller directly, without the platform, gets nothing', stranger.status === 401, stranger.status);
    const { services } = await play.wire.must('GET', '/v1/services');
    step.check('The catalogue shows all five services', services.length === 5, services.length);
  }, { essential: true });

  await story.tell('The buyers get money', async (step) => {
    for (const { id, name, deposit } of buyers) {
      const { address } = player(play, id);
      const wish = { adminSecret: play.house.adminSecret,
        body: { agentAddress: address, amount: deposit, txHash: `demo-deposit-${address}` } };
      await play.wire.must('POST', '/v1/admin/deposits', wish);
      step.money(`${deposit} comes in for ${name}.`);
      if (id !== 'pico') continue;
      const twice = await play.wire.ask('POST', '/v1/admin/deposits', wish);
      step.say(`The same deposit reported again is refused: HTTP ${twice.status} ${twice.body.code}.`);
      step.check('A deposit counts once', twice.status === 409
        && coins((await balanceOf(play, player(play, id))).availableMicros) === deposit, twice);
    }
    play.balancesBefore =
      new Map(await Promise.all([...play.players.values()].map(async (one) => [one.address, await balanceOf(play, one)] as const)));
  }, { essential: true });
}
