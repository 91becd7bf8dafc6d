/** How pipelines come to their workflows: at once while it is quiet, otherwise by the keeper, and not at all when they are over by then. */
import { reportOf, type PipelineRow } from '../activities/pipeline/rows.ts';
import type { NewPipeline, PipelineStore } from '../activities/pipeline/store.ts';
import { DEFAULT_ASSET, formatMicros, micros, type Micros } from '../domain/money.ts';
import type { PipelineInput, PipelineReport, StepReport } from '../domain/pipeline-messages.ts';
import { hasEnded } from '../domain/pipeline-rules.ts';
import { createTokenBucket } from '../platform/token-bucket.ts';
import type { Family, Subject } from './keeper.ts';
import type { Began, Messages } from './messages.ts';
import type { Spine } from './spine.ts';

export interface PipelineWorkflows {
  /**
   * Takes a place for the start of a workflow that is to follow the writing of its pipeline. False: there is none now. Who got one
   * hands it to `begin`, or gives it back by `leavePlace`.
   */
  takePlace(): boolean;
  leavePlace(): void;
  /**
   * Sends the start of a pipeline that was just written, in the place taken for it, and resolves when Temporal has answered; or leaves
   * it to the keeper, and resolves at once. Never rejects.
   */
  begin(pipeline: NewPipeline): Promise<void>;
  /** Lets the workflow know in a moment that the pipeline has moved on without it. */
  soon(id: string): void;
}

/** Starts at once: a burst, and so many a second. More would cost the pipelines themselves the processor; the rest waits a moment. */
const AT_ONCE_BURST = 8;
const AT_ONCE_PER_SEC = 4;

export function createPipelineWorkflows(store: PipelineStore, { messages, capacity, keeper: all }: Spine): PipelineWorkflows {
  const keeper = all.of(pipelineFamily(store, messages));
  const isQuiet = createTokenBucket({ burst: AT_ONCE_BURST, perSec: AT_ONCE_PER_SEC });
  return {
    takePlace() {
      if (!capacity.take()) return false;
      if (isQuiet()) return true;
      capacity.release();
      return false;
    },
    leavePlace: () => capacity.release(),
    async begin(pipeline) {
      const { id, workflowId, workflowStarted } = pipeline;
      if (workflowStarted) await keeper.started({ id, version: 1, workflowId }, () => send(messages, workflowId, newStart(pipeline)));
      else keeper.soon(id);
    },
    soon: (id) => keeper.soon(id),
  };
}

type PipelineSubject = Subject & { readonly row: PipelineRow };

/** What the keeper needs of pipelines. */
function pipelineFamily(store: PipelineStore, messages: Messages): Family<PipelineSubject> {
  return {
    kinds: ['pipeline'],
    async read(id) {
      const [row] = await store.rows([id]);
      if (row === undefined) return null;
      const { version, state, workflow_id: workflowId, workflow_started: workflowStarted } = row;
      return { id, kind: 'pipeline', version, ended: hasEnded(state), workflowId, workflowStarted, row };
    },
    markStarted: (id) => store.markStarted(id),
    async starting({ id, workflowId, row }) {
      const report = reportOf(row, await store.steps(id));
      const start = { report, buyer: row.buyer, tenantId: row.tenant_id, steps: row.steps, heldMicros: micros(row.held) };
      return () => send(messages, workflowId, start);
    },
  };
}

interface PipelineStart {
  readonly report: PipelineReport;
  readonly buyer: string;
  readonly tenantId: string | null;
  readonly steps: number;
  readonly heldMicros: Micros;
}

/** Of one that was written a moment ago: nothing needs to be read. */
function newStart({ id, buyer, tenantId, steps: plan }: NewPipeline): PipelineStart {
  const heldMicros = micros(plan.reduce((sum, { candidates }) => sum + BigInt(candidates[0]?.priceMicros ?? 0), 0n));
  const steps = plan.map(({ serviceType, candidates: [first], refundable, compensation }, step): StepReport => ({
    step, serviceType, service: first?.serviceName ?? '', seller: first?.seller ?? '', price: formatMicros(first?.priceMicros ?? 0),
    refundable, state: step === 0 ? 'accepted' : 'planned',
    ...(compensation === null ? {} : { undo: { endpoint: compensation.endpoint, state: 'registered', attempts: 0 } }),
  }));
  return { report: { id, version: 1, state: 'running', ended: false, steps }, buyer, tenantId, steps: steps.length, heldMicros };
}

function send(messages: Messages, workflowId: string, { report, buyer, tenantId, steps, heldMicros }: PipelineStart): Promise<Began> {
  const amount = formatMicros(heldMicros);
  const input = (searchAttributes: readonly string[]): PipelineInput =>
    ({ id: report.id, buyer, amount, asset: DEFAULT_ASSET, report, searchAttributes });
  return messages.begin({
    workflow: 'pipeline', queue: 'pipeline', workflowId, state: report.state, input,
    about: { heldMicros, asset: DEFAULT_ASSET, buyer, seller: null, tenantId },
    summary: `Pipeline of ${steps} ${steps === 1 ? 'step' : 'steps'}, ${amount} ${DEFAULT_ASSET}, for ${buyer}`,
  });
}
