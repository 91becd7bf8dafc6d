/** Pipelines over the HTTP of a running platform. */
import type { Reply } from './app.ts';
import type { Market, OpenSession } from './market.ts';
import type { TestPlatform } from './platform.ts';
import { eventually } from './platform-suite.ts';
import type { Seller } from './sellers.ts';

export interface StepBody {
  readonly serviceType: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly maxPrice?: string;
  readonly preferAgent?: string;
  readonly refundable?: boolean;
  readonly compensation?: { readonly endpoint: string; readonly params?: Readonly<Record<string, unknown>> };
}

export interface PipelineBody {
  readonly steps: readonly StepBody[];
  readonly allOrNothing?: boolean;
  readonly idempotencyKey?: string;
}

/** POST /v1/gateway/pipeline. `key` goes as the Idempotency-Key header. */
export function runPipeline(market: Pick<Market, 'ask'>, session: OpenSession, body: PipelineBody, key?: string): Promise<Reply> {
  return market.ask('POST', '/v1/gateway/pipeline', {
    key: session.buyer.key, headers: { 'x-gateway-token': session.token, ...(key === undefined ? {} : { 'idempotency-key': key }) }, body,
  });
}

/** GET /v1/gateway/pipelines/:id, as its buyer. */
export async function pipelineNow(market: Pick<Market, 'ask'>, { buyer }: Pick<OpenSession, 'buyer'>, id: string): Promise<Reply['body']> {
  const reply = await market.ask('GET', `/v1/gateway/pipelines/${id}`, { key: buyer.key });
  if (reply.status !== 200) throw new Error(reply.text);
  return reply.body.pipeline;
}

/**
 * A pipeline that has ended, with every compensation called. The answer to whoever ran it promises only that the money is where it stays:
 * it waits a moment for those who undo, and on a slow machine in vain.
 */
export function undone(market: Pick<Market, 'ask'>, session: Pick<OpenSession, 'buyer'>, id: string): Promise<Reply['body']> {
  return eventually(async () => {
    const pipeline = await pipelineNow(market, session, id);
    if (!['failed', 'cancelled'].includes(pipeline.status)) throw new Error(`The pipeline is ${pipeline.status}.`);
    return pipeline;
  }, { withinMs: 30_000 });
}

/** How the workflow of a pipeline ended. It is started a moment after the pipeline, so that a quick answer may come before it. */
export async function workflowResult({ temporal }: Pick<TestPlatform, 'temporal'>, workflowId: string): Promise<unknown> {
  const handle = temporal.client.workflow.getHandle(workflowId);
  await eventually(() => handle.describe());
  return handle.result();
}

/** The buyer's newest pipeline, for tests that need its id before the answer is there. */
export async function newestPipeline(market: Pick<Market, 'ask'>, { buyer }: Pick<OpenSession, 'buyer'>): Promise<Reply['body']> {
  const { body } = await market.ask('GET', '/v1/gateway/pipelines', { key: buyer.key });
  if (body.pipelines?.[0] === undefined) throw new Error('There is no pipeline yet.');
  return body.pipelines[0];
}

/** Puts one seller for each step on the market, of a type that bears its number, each at this price; they take work back. */
export async function aLine(market: Pick<Market, 'offers'>, sellers: readonly Seller[],
    { prefix = 'step', price = '0.10', idempotent = true, refundable = true } = {}) {
  const types = sellers.map((_, step) => `${prefix}-${step}`);
  const owners = [];
  for (const [step, seller] of sellers.entries()) owners.push(await market.offers(seller,
    { serviceType: types[step] ?? '', price, idempotent, refundable }));
  return { types, owners };
}
