/** Virtual cards over the HTTP of a running platform: issued, charged, and looked at from behind. */
import type { AskOptions, Reply } from './app.ts';
import type { Market, Trader } from './market.ts';

/** An issued card, with what its holder was shown. */
export interface Card {
  readonly id: string;
  readonly number: string;
  readonly cvv: string;
  readonly expiry: string;
  readonly workflowId: string;
}

export interface CardStage {
  readonly buyer: Trader;
  readonly merchant: Trader;
  readonly stranger: Trader;
  /** POST /v1/cards by the buyer. */
  issue(wish?: Readonly<Record<string, unknown>>, options?: AskOptions): Promise<Reply>;
  /** A fresh card for anybody. */
  aCard(wish?: Readonly<Record<string, unknown>>): Promise<Card>;
  /** POST /v1/cards/charge, by the merchant unless another is named. */
  charge(card: { readonly number: string }, body?: Readonly<Record<string, unknown>>, who?: Trader, options?: AskOptions): Promise<Reply>;
  cancel(card: { readonly id: string }, who?: Trader, options?: AskOptions): Promise<Reply>;
  get(card: { readonly id: string }, who?: Trader): Promise<Reply>;
  /** A card in this state, reached by the steps that lead there. */
  aCardIn(status: string): Promise<Card>;
}

/** A stage with agents of its own. @param funds of the buyer, decimal text. */
export async function setCardStage(market: Market, funds = '1000'): Promise<CardStage> {
  const [buyer, merchant, stranger] = await Promise.all([market.aTrader(funds), market.aTrader(), market.aTrader()]);
  const issue: CardStage['issue'] = (wish = {}, options = {}) =>
    market.ask('POST', '/v1/cards', { key: buyer.key, body: { amount: '10.00', ...wish }, ...options });
  const charge: CardStage['charge'] = ({ number }, body = {}, who = merchant, options = {}) =>
    market.ask('POST', '/v1/cards/charge',
      { key: who.key, body: { number, amount: '10.00', description: 'A thing', ...body }, ...options });
  const cancel: CardStage['cancel'] = ({ id }, who = buyer, options = {}) =>
    market.ask('POST', `/v1/cards/${id}/cancel`, { key: who.key, ...options });
  const aCard: CardStage['aCard'] = async (wish) => {
    const reply = await issue(wish);
    if (reply.status !== 201) throw new Error(`Expected 201, got ${reply.status}: ${reply.text}`);
    return reply.body.card as Card;
  };
  return {
    buyer, merchant, stranger, issue, aCard, charge, cancel,
    get: ({ id }, who = buyer) => market.ask('GET', `/v1/cards/${id}`, { key: who.key }),
    async aCardIn(status) {
      const card = await aCard();
      if (status === 'used') await charge(card);
      if (status === 'cancelled') await cancel(card);
      if (status === 'blocked') for (let n = 0; n < 5; n += 1) await charge(card, { amount: '11' });
      return card;
    },
  };
}
