/** What agents sell. A change is in the catalogue of this process before its answer is sent, and in all others a moment later. */
import { SuretyError } from '../domain/errors.ts';
import { micros, type Micros } from '../domain/money.ts';
import type { Logger } from '../platform/log.ts';
import { newId } from '../platform/random.ts';
import type { Db, Prisma } from '../prisma/client.ts';
import type { Service as ServiceRow } from '../prisma/generated/client.ts';
import { lockAlive, transactionOptions } from './alive.ts';
import type { Catalogue } from './catalogue.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** What a seller says of a service. */
export interface ServiceFields {
  /** Matches SERVICE_TYPE, so that the gateway can call it. */
  readonly type: string;
  readonly name: string;
  readonly priceMicros: Micros;
  readonly description: string;
  /** Empty: listed, but nobody can call it. */
  readonly endpoint: string;
  /** The seller works on one Idempotency-Key once. */
  readonly idempotent: boolean;
  /** The seller lets its work be given back unpaid when the pipeline that bought it does not complete. */
  readonly refundable: boolean;
  /** The longest time its work takes, 1 to 86,400 s; null: no longer than any call may (SELLER_TIMEOUT). */
  readonly maxDurationSecs: number | null;
  readonly metadata: JsonObject;
  readonly active: boolean;
}

export interface ServiceRecord extends ServiceFields {
  readonly id: string;
  readonly agentAddress: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export type NewService = Pick<ServiceFields, 'type' | 'name' | 'priceMicros'> & Partial<ServiceFields>;

export interface Services {
  /** Errors: agent_not_found, invalid_endpoint, invalid_state (it offers as many as it may). */
  add(address: string, fields: NewService): Promise<ServiceRecord>;
  /** Changes only what is given. Errors: not_found, invalid_endpoint. */
  update(address: string, serviceId: string, changes: Partial<ServiceFields>): Promise<ServiceRecord>;
  /** Errors: not_found. */
  remove(address: string, serviceId: string): Promise<void>;
}

interface Deps {
  readonly db: Db;
  readonly catalogue: Catalogue;
  /** Refuses addresses that Surety must not call, with `invalid_endpoint`. */
  readonly checkEndpoint: (url: string) => Promise<unknown>;
  readonly log: Logger;
}

export function toService(row: ServiceRow): ServiceRecord {
  return { ...row, priceMicros: micros(row.priceMicros), metadata: row.metadata as JsonObject };
}

/** An agent is shown with all its services, alone and in lists. */
const SERVICES_MAX = 100;
const tooMany = (): SuretyError => new SuretyError('invalid_state', `An agent can offer at most ${SERVICES_MAX} services.`,
  { recovery: 'Withdraw one with DELETE /v1/agents/:address/services/:serviceId first.' });

/** Prisma's names for the given fields; absent fields stay absent and so unchanged. */
function columnsOf({ metadata, ...rest }: Partial<ServiceFields>) {
  return { ...rest, ...(metadata === undefined ? {} : { metadata: metadata as Prisma.InputJsonObject }) };
}

/** Creates the registry of services. */
export function createServices({ db, catalogue, checkEndpoint, log }: Deps): Services {
  // The change is committed by now; a catalogue that cannot be read at this moment must not make it look refused.
  const show = (id: string): Promise<void> =>
    catalogue.refreshServices([id])
      .catch((error: unknown) => log.warn({ err: error, serviceId: id }, 'A changed service is not in the catalogue yet.'));
  const unknown = (): SuretyError => new SuretyError('not_found', 'This agent has no service with this id.');

  return {
    async add(address, fields) {
      if (fields.endpoint) await checkEndpoint(fields.endpoint);
      const row = await db.$transaction(async (tx) => {
        await lockAlive(tx, address);
        if ((await tx.service.count({ where: { agentAddress: address, deletedAt: null } })) >= SERVICES_MAX) throw tooMany();
        const { type, name, priceMicros } = fields;
        return tx.service.create({ data: { id: newId('service'), agentAddress: address, type, name, priceMicros, ...columnsOf(fields) } });
      }, transactionOptions);
      await show(row.id);
      return toService(row);
    },

    async update(address, serviceId, changes) {
      if (changes.endpoint) await checkEndpoint(changes.endpoint);
      const [row] = await db.service.updateManyAndReturn({ where: { id: serviceId, agentAddress: address, deletedAt: null },
        data: { ...columnsOf(changes), updatedAt: new Date() } });
      if (row === undefined) throw unknown();
      await show(row.id);
      return toService(row);
    },

    async remove(address, serviceId) {
      const { count } = await db.service.updateMany({
        where: { id: serviceId, agentAddress: address, deletedAt: null },
        data: { deletedAt: new Date(), active: false, updatedAt: new Date() },
      });
      if (count === 0) throw unknown();
      await show(serviceId);
    },
  };
}
