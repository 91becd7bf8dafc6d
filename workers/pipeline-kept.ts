/** What the workflow of a pipeline is started with: of one that has just been written, and of one that lost its workflow. */
import { reportOf, type PipelineRow, type StepRow } from '../activities/pipeline/rows.ts';
import type { NewPipeline, PipelineStore } from '../activities/pipeline/store.ts';
import { formatMicros, toUnits } from '../domain/money.ts';
import type { PipelineInput, PipelineReport, StepReport } from '../domain/pipeline-messages.ts';
import type { KeptRow } from './keeper.ts';

/** Pipelines by id, as they stand now. */
export async function readKept(store: PipelineStore, ids: readonly string[]): Promise<KeptRow[]> {
  const [rows, steps] = [await store.rows(ids), await store.stepsOf(ids)];
  return rows.map((row) => keptOf(row, steps.filter((step) => step.pipeline_id === row.id)));
}

/** @param steps may be left out where the workflow is only to hear that something has happened: it reads what. */
export function keptOf(row: PipelineRow, steps: readonly StepRow[] = []): KeptRow {
  return kept(reportOf(row, steps), { buyer: row.buyer, tenantId: row.tenant_id, steps: row.steps, heldMicros: BigInt(row.held) });
}

/** The same of one that was written a moment ago: nothing needs to be read. */
export function keptOfNew({ id, buyer, tenantId, steps: plan }: NewPipeline): KeptRow {
  const heldMicros = plan.reduce((sum, { candidates }) => sum + BigInt(candidates[0]?.priceMicros ?? 0), 0n);
  const steps = plan.map(({ serviceType, candidates: [first], refundable, compensation }, step): StepReport => ({
    step, serviceType, service: first?.serviceName ?? '', seller: first?.seller ?? '', price: formatMicros(first?.priceMicros ?? 0),
    refundable, state: step === 0 ? 'accepted' : 'planned',
    ...(compensation === null ? {} : { undo: { endpoint: compensation.endpoint, state: 'registered', attempts: 0 } }),
  }));
  return kept({ id, version: 1, state: 'running', ended: false, steps }, { buyer, tenantId, steps: steps.length, heldMicros });
}

type About = { readonly buyer: string; readonly tenantId: string | null; readonly steps: number; readonly heldMicros: bigint };

function kept(report: PipelineReport, { buyer, tenantId, steps, heldMicros }: About): KeptRow {
  const { id, version, state, ended } = report;
  const amount = formatMicros(heldMicros);
  const input: Omit<PipelineInput, 'id' | 'searchAttributes'> = { buyer, amount, asset: 'USDC', report };
  return {
    // It has no deadline of its own; its steps have.
    id, view: { version, state, ended, deadlineMs: null }, buyer, seller: null, tenantId, input, amountUsd: toUnits(heldMicros).toNumber(),
    summary: `Pipeline of ${steps} ${steps === 1 ? 'step' : 'steps'}, ${amount} USDC, for ${buyer}`,
  };
}
