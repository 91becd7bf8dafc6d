/** How long calls come to their workflows: at once where there is room, otherwise by the keeper. */
import { longViewOf, type LongCallRow } from '../../activities/long-call/rows.ts';
import type { LongCallStore } from '../../activities/long-call/store.ts';
import type { GatewayCallInput, LongCallView } from '../../domain/long-call-messages.ts';
import { DEFAULT_ASSET, parseAmount } from '../../domain/money.ts';
import type { Family, Subject } from '../keeper.ts';
import type { Began, Messages } from '../messages.ts';
import type { Spine } from '../spine.ts';

export interface LongCallWorkflows {
  /** Takes a place for a start that is to follow the writing of its call. Who got one hands it to `begin`, or gives it back. */
  takePlace(): boolean;
  leavePlace(): void;
  /** Sends the start of a call that was just written, in the place taken for it, or leaves it to the keeper. Never rejects. */
  begin(row: LongCallRow): Promise<void>;
  /** Lets the workflow know in a moment that the call has moved on without it. */
  soon(id: string): void;
}

export function createLongCallWorkflows(store: LongCallStore, { messages, capacity, keeper: all }: Spine): LongCallWorkflows {
  const keeper = all.of(longCallFamily(store, messages));
  return {
    takePlace: () => capacity.take(),
    leavePlace: () => capacity.release(),
    async begin(row) {
      const { id, version, workflow_id: workflowId, workflow_started: isStarted } = row;
      if (isStarted) await keeper.started({ id, version, workflowId }, () => send(messages, row));
      else keeper.soon(id);
    },
    soon: (id) => keeper.soon(id),
  };
}

type LongCallSubject = Subject & { readonly row: LongCallRow };

/** What the keeper needs of long calls. */
function longCallFamily(store: LongCallStore, messages: Messages): Family<LongCallSubject> {
  return {
    kinds: ['call'],
    async read(id) {
      const row = await store.row(id);
      if (row === null) return null;
      const { version, workflow_id: workflowId, workflow_started: workflowStarted } = row;
      return { id, kind: 'call', version, ended: longViewOf(row).ended, workflowId, workflowStarted, row };
    },
    markStarted: (id) => store.markStarted(id),
    starting: ({ row }) => Promise.resolve(() => send(messages, row)),
  };
}

function send(messages: Messages, row: LongCallRow): Promise<Began> {
  const view: LongCallView = longViewOf(row);
  const { id, buyer, seller, tenant_id: tenantId, workflow_id: workflowId } = row;
  const input = (searchAttributes: readonly string[]): GatewayCallInput => ({ id, buyer, asset: DEFAULT_ASSET, view, searchAttributes });
  return messages.begin({
    workflow: 'gatewayCall', queue: 'gateway', workflowId, state: view.state, input,
    about: { heldMicros: parseAmount(view.price), asset: DEFAULT_ASSET, buyer, seller, tenantId },
    summary: `Long call: ${view.service}, ${view.price} ${DEFAULT_ASSET}, from ${buyer} to ${seller}`,
  });
}
