/** How the registry's and the ledger's things look on the wire (contract alancoin-payments 2.2 and 2.3): schema beside presenter. */
import { z } from 'zod';
import { formatMicros } from '../../domain/money.ts';
import type { Balance, LedgerEntry } from '../../ledger/reads.ts';
import type { Payment } from '../../ledger/payments.ts';
import type { AgentRecord } from '../../registry/agents.ts';
import type { ServiceListing } from '../../registry/discovery.ts';
import type { ServiceRecord } from '../../registry/services.ts';
import { successRate } from '../../trust/reputation.ts';
import { addressOut, amountOut, currencyOut, jsonObject, timeOut } from './fields.ts';

/** Size of `metadata` as JSON text. */
const METADATA_BYTES_MAX = 16_384;

/** A small JSON object of the caller's own making, as Postgres can store it. */
export const metadata = jsonObject
  .refine((value) => Buffer.byteLength(JSON.stringify(value)) <= METADATA_BYTES_MAX, `must be at most ${METADATA_BYTES_MAX} bytes of JSON`)
  .refine((value) => {
    // JSON.stringify writes whole characters as they are and escapes only what no text column can hold: NUL and half characters.
    const text = JSON.stringify(value).replaceAll('\\\\', '');
    return !/\\u0000|\\ud[89a-f][0-9a-f]{2}/i.test(text);
  }, 'must be valid Unicode text without NUL characters');

export const serviceOut = z.object({
  id: z.string(), type: z.string(), name: z.string(), description: z.string(), price: amountOut, endpoint: z.string(), active: z.boolean(),
  idempotent: z.boolean(), refundable: z.boolean(), maxDurationSecs: z.number().int().optional(), agentAddress: addressOut,
  metadata: jsonObject.optional(),
  createdAt: timeOut, updatedAt: timeOut,
});

/** Go clients drop an empty object anyway; leaving it out keeps lists short. */
const filled = (value: Readonly<Record<string, unknown>>) => (Object.keys(value).length === 0 ? {} : { metadata: value });

export function showService(service: ServiceRecord): z.input<typeof serviceOut> {
  const { id, type, name, description, priceMicros, endpoint, active, idempotent, refundable, agentAddress, metadata: meta } = service;
  const { maxDurationSecs, createdAt, updatedAt } = service;
  return {
    id, type, name, description, price: formatMicros(priceMicros), endpoint, active, idempotent, refundable,
    ...(maxDurationSecs === null ? {} : { maxDurationSecs }), agentAddress, ...filled(meta),
    createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString(),
  };
}

export const listingOut = serviceOut.extend({
  agentName: z.string(), reputationScore: z.number(), reputationTier: z.string(), successRate: z.number(),
  transactionCount: z.number().int(),
  valueScore: z.number().optional(), verified: z.boolean(),
});

export function showListing(listing: ServiceListing): z.input<typeof listingOut> {
  const { agentName, reputationScore, reputationTier, transactionCount, valueScore, verified } = listing;
  return {
    ...showService(listing), agentName, reputationScore, reputationTier, successRate: listing.successRate, transactionCount, verified,
    ...(valueScore === null ? {} : { valueScore }),
  };
}

export const agentOut = z.object({
  address: addressOut, name: z.string(), description: z.string(), ownerAddress: addressOut.optional(),
  isAutonomous: z.boolean(), verified: z.boolean(),
  services: z.array(serviceOut), endpoint: z.string().optional(), metadata: jsonObject.optional(), createdAt: timeOut, updatedAt: timeOut,
  stats: z.object({
    totalReceived: amountOut, totalSent: amountOut, totalSpent: amountOut, transactionCount: z.number().int(), successRate: z.number(),
    firstTransactionAt: timeOut.optional(), lastTransactionAt: timeOut.optional(), lastActive: timeOut,
  }),
});

function showStats({ stats, createdAt }: AgentRecord): z.input<typeof agentOut>['stats'] {
  const sent = formatMicros(stats?.spentMicros ?? 0n);
  const first = stats?.firstActiveAt ?? null;
  const last = stats?.lastActiveAt ?? null;
  return {
    totalReceived: formatMicros(stats?.volumeMicros ?? 0n), totalSent: sent, totalSpent: sent,
    transactionCount: Number(stats?.settledCount ?? 0n) + Number(stats?.boughtCount ?? 0n),
    successRate: successRate(Number(stats?.settledCount ?? 0n), Number(stats?.failedCount ?? 0n)),
    ...(first === null ? {} : { firstTransactionAt: first.toISOString() }),
    ...(last === null ? {} : { lastTransactionAt: last.toISOString() }),
    lastActive: (last ?? createdAt).toISOString(),
  };
}

export function showAgent(agent: AgentRecord): z.input<typeof agentOut> {
  const { address, name, description, ownerAddress, endpoint, metadata: meta, provenAt, createdAt, updatedAt, services } = agent;
  return {
    address, name, description, isAutonomous: ownerAddress !== null, verified: provenAt !== null, services: services.map(showService),
    ...(ownerAddress === null ? {} : { ownerAddress }), ...(endpoint === null ? {} : { endpoint }), ...filled(meta),
    createdAt: createdAt.toISOString(), updatedAt: updatedAt.toISOString(), stats: showStats(agent),
  };
}

export const balanceOut = z.object({
  agentAddr: addressOut, currency: currencyOut, available: amountOut, pending: amountOut, escrowed: amountOut, creditLimit: amountOut,
  creditUsed: amountOut, totalIn: amountOut, totalOut: amountOut, updatedAt: timeOut.optional(),
});

export function showBalance(balance: Balance): z.input<typeof balanceOut> {
  const { owner, asset, updatedAt, available, pending, escrowed, creditLimit, creditUsed, totalIn, totalOut } = balance;
  return {
    agentAddr: owner, currency: asset, available: formatMicros(available), pending: formatMicros(pending), escrowed: formatMicros(escrowed),
    creditLimit: formatMicros(creditLimit), creditUsed: formatMicros(creditUsed), totalIn: formatMicros(totalIn),
    totalOut: formatMicros(totalOut),
    ...(updatedAt === null ? {} : { updatedAt: updatedAt.toISOString() }),
  };
}

export const entryOut = z.object({
  id: z.string(), agentAddr: addressOut, type: z.string(), amount: amountOut, currency: currencyOut, txHash: z.string().optional(),
  reference: z.string(), description: z.string(),
  reversedAt: timeOut.optional(), reversedBy: z.string().optional(), reversalOf: z.string().optional(), createdAt: timeOut,
});

export function showEntry(entry: LedgerEntry, agentAddr: string): z.input<typeof entryOut> {
  const { id, type, amount, asset, txHash, reference, description, reversedAt, reversedBy, reversalOf, createdAt } = entry;
  return {
    id, agentAddr, type, amount: formatMicros(amount), currency: asset, reference, description,
    ...(txHash === null ? {} : { txHash }), ...(reversedAt === null ? {} : { reversedAt: reversedAt.toISOString() }),
    ...(reversedBy === null ? {} : { reversedBy }), ...(reversalOf === null ? {} : { reversalOf }), createdAt: createdAt.toISOString(),
  };
}

export const transactionOut = z.object({
  id: z.string(), txHash: z.string(), from: addressOut, to: addressOut, amount: amountOut, currency: currencyOut, serviceId: z.string(),
  status: z.string(), reversed: z.boolean(), createdAt: timeOut,
});

export function showTransaction(payment: Payment): z.input<typeof transactionOut> {
  return {
    id: `tx_${payment.postingId}`, txHash: payment.ref, from: payment.from, to: payment.to, amount: formatMicros(payment.amount),
    currency: payment.asset, serviceId: payment.serviceId ?? '',
    status: 'confirmed', reversed: payment.reversed, createdAt: payment.createdAt.toISOString(),
  };
}
