/** Multistep escrows over the HTTP of a running platform: valid ones, of which a test changes what it is about. */
import type pg from 'pg';
import type { Reply } from './app.ts';
import { usdc, type Market, type Trader } from './market.ts';

export interface Plan {
  readonly buyer: Trader;
  readonly sellers: readonly Trader[];
  /** Decimal text of each step. */
  readonly amounts: readonly string[];
}

export interface OpenMultistep extends Plan {
  readonly id: string;
  readonly workflowId: string;
}

/** A plan with a seller for each amount; the buyer has exactly its total. */
export async function aPlan(market: Market, amounts: readonly string[] = ['0.10', '0.20', '0.30']): Promise<Plan> {
  const [buyer, ...sellers] = await Promise.all([market.aTrader(totalOf(amounts)), ...amounts.map(() => market.aTrader())]);
  return { buyer, sellers, amounts };
}

/** The sum, written the short way: `0.6`, where answers say `0.600000`. */
export function totalOf(amounts: readonly string[]): string {
  const digits = amounts.reduce((sum, amount) => sum + usdc(amount), 0n).toString().padStart(7, '0');
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`.replace(/\.?0+$/, '');
}

/** The body of POST /v1/escrow/multistep. */
export function planBody({ sellers, amounts }: Plan, change: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    totalAmount: totalOf(amounts), totalSteps: amounts.length,
    plannedSteps: amounts.map((amount, n) => ({ sellerAddr: sellers[n % sellers.length]?.address, amount })), ...change,
  };
}

export function create(market: Market, plan: Plan, change: Readonly<Record<string, unknown>> = {}, key?: string): Promise<Reply> {
  return market.ask('POST', '/v1/escrow/multistep',
    { key: plan.buyer.key, body: planBody(plan, change), ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }) });
}

/** An open escrow with its money held. */
export async function anOpenMultistep(market: Market, amounts?: readonly string[],
    change: Readonly<Record<string, unknown>> = {}): Promise<OpenMultistep> {
  const plan = await aPlan(market, amounts);
  const { status, text, body } = await create(market, plan, change);
  if (status !== 201) throw new Error(`Expected 201, got ${status}: ${text}`);
  return { ...plan, id: body.escrow.id as string, workflowId: body.escrow.workflowId as string };
}

export interface ConfirmWish {
  readonly by?: Trader;
  readonly body?: Readonly<Record<string, unknown>>;
  /** Sent as the Idempotency-Key header. */
  readonly key?: string;
}

/** Confirms a step as planned, unless the test says otherwise. */
export function confirm(market: Market, escrow: OpenMultistep, stepIndex: number,
    { by = escrow.buyer, body = {}, key }: ConfirmWish = {}): Promise<Reply> {
  return market.ask('POST', `/v1/escrow/multistep/${escrow.id}/confirm-step`, {
    key: by.key, body: { stepIndex, sellerAddr: escrow.sellers[stepIndex % escrow.sellers.length]?.address,
      amount: escrow.amounts[stepIndex] ?? '0.10', ...body },
    ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }),
  });
}

export function refund(market: Market, { id, buyer }: OpenMultistep, by = buyer, key?: string): Promise<Reply> {
  return market.ask('POST', `/v1/escrow/multistep/${id}/refund`,
    { key: by.key, ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }) });
}

export function read(market: Market, { id, buyer }: OpenMultistep, by = buyer): Promise<Reply> {
  return market.ask('GET', `/v1/escrow/multistep/${id}`, { key: by.key });
}

/** Decimal text of what an owner can spend, and of what is locked in escrow. */
export async function moneyIn(pool: pg.Pool, { address }: { readonly address: string }): Promise<{ available: number; escrowed: number }> {
  const { rows } = await pool.query<{ available: string; escrowed: string }>('SELECT available, escrowed FROM account WHERE owner = $1',
    [address]);
  return { available: Number(rows[0]?.available ?? 0), escrowed: Number(rows[0]?.escrowed ?? 0) };
}
