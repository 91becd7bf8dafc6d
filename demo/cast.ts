/** Who plays in the demo, and how an agent joins the platform: by proving that it holds the key of its address. */
import { Wallet } from 'ethers';
import { player, type BuyerId, type Play, type Player } from './play.ts';
import { demoSellers, type SellerId } from './sellers/catalogue.ts';
import type { Wire } from './wire.ts';

export const buyers: readonly { readonly id: BuyerId; readonly name: string; readonly description: string; readonly deposit: string }[] = [
  { id: 'atlas', name: 'Atlas', description: 'A research agent.', deposit: '20.00' },
  { id: 'nova', name: 'Nova', description: 'An engineering agent.', deposit: '10.00' },
  { id: 'pico', name: 'Pico', description: 'An agent with little money.', deposit: '1.00' },
];

/** Registers an agent with a new key pair: the server gives a message, the key of the address signs it (EIP-191). */
export async function join(wire: Wire,
    who: { readonly name: string; readonly description: string; readonly role: Player['role'] }): Promise<Player> {
  const wallet = Wallet.createRandom();
  const address = wallet.address.toLowerCase();
  const challenge = await wire.must('POST', '/v1/auth/challenge', { body: { address } });
  const signature = await wallet.signMessage(challenge.message as string);
  const { apiKey } = await wire.must('POST', '/v1/agents', {
    body: { address, name: who.name, description: who.description, proof: { challengeId: challenge.challengeId, signature } },
  });
  return { name: who.name, role: who.role, address, apiKey: apiKey as string };
}

const services = new Map<SellerId, string>();

/** Puts a seller's service into the catalogue, or takes it out again. */
export async function putOnOffer(play: Play, id: SellerId, active = true): Promise<void> {
  const seller = demoSellers.find((one) => one.id === id);
  if (seller === undefined) throw new Error(`There is no seller ${id}.`);
  const { address, apiKey } = player(play, id);
  const known = services.get(id);
  if (known !== undefined) {
    await play.wire.must('PUT', `/v1/agents/${address}/services/${known}`, { apiKey, body: { active } });
    return;
  }
  const { path, price, serviceType, serviceName, description, maxDurationSecs } = seller;
  const service = await play.wire.must('POST', `/v1/agents/${address}/services`, {
    // The sellers work once for each Idempotency-Key, and say so: only then may the platform ask again after a crash.
    apiKey, body: { type: serviceType, name: serviceName, description, price, endpoint: play.house.sellersUrl + path,
      // Work of a pipeline that does not complete may come back to them unpaid.
      idempotent: true, refundable: true, ...(maxDurationSecs === undefined ? {} : { maxDurationSecs }) },
  });
  services.set(id, service.id as string);
}
