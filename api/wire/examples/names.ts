/** Words of the docs: what a field of this name may hold, where its schema alone would say nothing. */
import { buyer, callId, callWorkflowId, digits, seller, serviceId } from './cast.ts';

const sessionId = `gw_${digits}`;

/** Plausible values for names that occur all over the API. */
export const namedExamples: Readonly<Record<string, unknown>> = {
  // Ids.
  id: sessionId, token: sessionId, sessionId, callId, serviceId, streamId: `str_${digits}`, pipelineId: `pipe_${digits}`,
  workflowId: `gateway-session-${sessionId}`, keyId: 'ak_5b1f09c2d3e4f567',
  oldKeyId: 'ak_0f1e2d3c4b5a6978', challengeId: `chal_${digits}`, entryId: 'entry_17', reversalId: 'entry_18', reference: callId,
  clientRef: 'payout-2026-01', txHash: '0x9f2c…',
  // Who.
  agentAddr: buyer, agentAddress: buyer, agentCalled: seller, toAddress: seller, best: seller, name: 'Word counter', agentName: 'Ada',
  fromName: 'A buyer', fromAddress: '', toName: 'Word House',
  // What is sold, and what was made of it.
  serviceName: 'Word counter', description: 'Counts words, sentences and characters.', endpoint: 'https://seller.example/word-count',
  serviceType: 'word-statistics', type: 'word-statistics',
  params: { text: 'To be or not to be' }, response: { output: { words: 6 } }, latencyMs: 12, strategy: 'cheapest',
  allowedTypes: ['word-statistics'], requestCount: 1, count: 1,
  totalSpent: '0.005000', remaining: '4.995000', reputationTier: 'trusted', timeAgo: '12s ago', reason: 'Credited to the wrong agent.',
  // Keys and proofs.
  apiKey: 'sk_…', keyName: 'Primary key', signature: '0x8f3a…1b', warning: 'Store this key now; it is not shown again.',
  usage: 'Send it as `Authorization: Bearer <apiKey>` or `X-API-Key: <apiKey>`.',
  kid: 'b1946ac92492d234', kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
  // The platform.
  version: '0.1.0', chain: 'none', startedAt: '2026-01-31T08:00:00.000Z', openapi: '3.1.1',
};

/** Nobody sells to themselves, and a tick costs less than the deposit: these go before the example of their type. */
export const tellingExamples: Readonly<Record<string, { readonly input: string; readonly output: string }>> = {
  sellerAddr: { input: seller, output: seller },
  pricePerTick: { input: '0.001', output: '0.001000' },
};

/** What an object's `id` and `workflowId` look like, by a field that only its kind has. */
export const kinds: readonly (readonly [field: string, named: Readonly<Record<string, string>>])[] = [
  ['plannedSteps', { id: `mse_${digits}`, workflowId: `multistep-escrow-mse_${digits}` }],
  ['autoReleaseAt', { id: `esc_${digits}`, workflowId: `escrow-esc_${digits}` }],
  ['staleTimeoutSecs', { id: `str_${digits}`, workflowId: `stream-str_${digits}` }],
  ['idempotent', { id: serviceId }],
  ['agentCalled', { id: callId, workflowId: callWorkflowId, amount: '0.020000' }],
  ['callId', { workflowId: callWorkflowId }],
  ['reversed', { id: 'tx_17', status: 'confirmed', to: seller, txHash: callId }],
  ['timeAgo', { id: 'tx_17', txHash: '' }],
  ['reference', { id: 'entry_17', type: 'settle_hold_in', description: 'earned' }],
  ['revoked', { id: 'ak_5b1f09c2d3e4f567', name: 'Primary key' }],
  ['tickedBy', { id: `tick_${digits}00000001` }],
  ['pipelineId', { workflowId: `pipeline-pipe_${digits}` }],
];
