/** Which service a settled payment was for, whatever its kind. */
import { setStage } from '../support/escrows.ts';
import { createPlatformSuite } from '../support/platform-suite.ts';
import { step, type OpenedStream } from '../support/streams.ts';

const { platform, seller } = createPlatformSuite();

test('an escrow and a stream name the service they were made for, if it is one of the seller who was paid', async () => {
  const { cast } = await setStage(platform(), '10');
  const [own, other] = [await platform().offers(await seller(), { name: 'Polyglot' }), await platform().offers(await seller())];
  const buy = async (serviceId: string): Promise<void> => {
    const parties = { buyerAddr: cast.buyer.address, sellerAddr: own.address, serviceId };
    const { body: { escrow } } = await platform().ask('POST', '/v1/escrow', { key: cast.buyer.key, body: { ...parties, amount: '1.00' } });
    await platform().ask('POST', `/v1/escrow/${escrow.id}/confirm`, { key: cast.buyer.key });
    const { body: { stream } } = await platform()
      .ask('POST', '/v1/streams', { key: cast.buyer.key, body: { ...parties, holdAmount: '1.00', pricePerTick: '0.10' } });
    const opened: OpenedStream = { id: stream.id, workflowId: stream.workflowId, buyer: cast.buyer, seller: own };
    await step(platform(), opened, 'tick');
    await step(platform(), opened, 'close');
  };
  await buy(own.serviceId);
  await buy(other.serviceId);
  await buy('whatever the buyer likes');
  const { body } = await platform().ask('GET', `/v1/agents/${cast.buyer.address}/transactions`, { key: cast.buyer.key });
  expect(body.transactions.map(({ serviceId }: { serviceId: string }) => serviceId))
    .toEqual(['', '', '', '', own.serviceId, own.serviceId]);
  const { body: { feed } } = await platform().ask('GET', '/v1/feed', {});
  expect(feed.map(({ serviceName }: { serviceName?: string }) => serviceName))
    .toEqual([undefined, undefined, undefined, undefined, 'Polyglot', 'Polyglot']);
});
