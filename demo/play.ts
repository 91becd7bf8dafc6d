/** What the steps of the demo share: who plays, where they are reached, and what was bought so far. */
import type { House } from './house.ts';
import type { SellerId } from './sellers/catalogue.ts';
import type { Job } from './sellers/shop.ts';
import type { Introduction } from './sellers/trust.ts';
import type { Step } from './story.ts';
import { coins, readAmount } from './money-words.ts';
import type { Json, Wire } from './wire.ts';

export type BuyerId = 'atlas' | 'nova' | 'pico';

export interface Player {
  readonly name: string;
  readonly role: 'buyer' | 'seller';
  readonly address: string;
  readonly apiKey: string;
}

/** What a buyer was told it paid. At the end the balances must say the same. */
export interface Purchase {
  readonly buyer: string;
  readonly seller: string;
  readonly amountMicros: bigint;
}

export interface Session {
  readonly owner: Player;
  readonly token: string;
}

/** Filled step by step: what an earlier essential step made is there for the later ones. */
export interface Play {
  readonly house: House;
  readonly wire: Wire;
  /** Tells the sellers who they are and where the platform is, so that they can check who asks. */
  readonly introduceSellers: (introduction: Introduction) => void;
  readonly players: Map<BuyerId | SellerId, Player>;
  readonly purchases: Purchase[];
  readonly sessions: Session[];
  balancesBefore: Map<string, Balance>;
}

export interface Balance {
  readonly availableMicros: bigint;
  readonly heldMicros: bigint;
}

export function player(play: Play, id: BuyerId | SellerId): Player {
  const found = play.players.get(id);
  if (found === undefined) throw new Error(`${id} has not been registered.`);
  return found;
}

export async function balanceOf(play: Play, one: Player): Promise<Balance> {
  const { balance } = await play.wire.must('GET', `/v1/agents/${one.address}/balance`, { apiKey: one.apiKey });
  return { availableMicros: readAmount(balance.available), heldMicros: readAmount(balance.pending) + readAmount(balance.escrowed) };
}

export interface SessionWish {
  readonly maxTotal: string;
  readonly strategy?: string;
  readonly allowedTypes?: readonly string[];
}

/** Opens a gateway session and tells what that does to the money. */
export async function openSession(play: Play, step: Step, owner: Player, wish: SessionWish): Promise<Session> {
  const { token } = await play.wire.must('POST', '/v1/gateway/sessions', { apiKey: owner.apiKey, body: wish });
  const session = { owner, token: token as string };
  play.sessions.push(session);
  const strategy = wish.strategy === undefined ? '' : ` (strategy "${wish.strategy}")`;
  step.money(`${owner.name} opens a session${strategy}: ${wish.maxTotal} is set aside for it, nobody is paid yet.`);
  return session;
}

export interface CallWish {
  readonly serviceType: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly idempotencyKey?: string;
}

/** Buys one call in a session. @throws WireError when the platform does not sell it. */
export async function buy(play: Play, session: Session, { idempotencyKey, ...body }: CallWish): Promise<Json> {
  const { apiKey } = session.owner;
  return play.wire.must('POST', '/v1/gateway/proxy', { apiKey, token: session.token, idempotencyKey, body });
}

/** Notes a purchase and tells who was paid. */
export function notePurchase(play: Play, step: Step, buyer: Player, answer: Json): Purchase {
  const seller = [...play.players.values()].find((one) => one.address === answer.serviceUsed);
  const amountMicros = readAmount(answer.amountPaid);
  const purchase = { buyer: buyer.address, seller: answer.serviceUsed as string, amountMicros };
  play.purchases.push(purchase);
  step.money(`${buyer.name} pays ${coins(amountMicros)} to ${seller?.name ?? answer.serviceUsed}, who answered in ${answer.latencyMs} ms.`);
  return purchase;
}

/** What the sellers themselves remember of their work. */
export async function jobsAt(play: Play, path: string): Promise<Job[]> {
  const response = await fetch(`${play.house.sellersUrl}/jobs`);
  const { jobs } = (await response.json()) as { jobs: Job[] };
  return jobs.filter((job) => job.path === path);
}
