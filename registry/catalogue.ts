/**
 * Every active service with an endpoint, in memory, for the gateway's hot path: choosing a seller must not cost a query. Kept
 * fresh by notifications (a change elsewhere is seen within about 100 ms), by `refreshServices` (a change made through this process
 * is seen before its answer), and by a timer for the case that notifications are lost.
 */
import type pg from 'pg';
import type { Offer, ReputationTier } from '../domain/gateway.ts';
import { micros } from '../domain/money.ts';
import { freshReputation } from '../domain/reputation.ts';
import type { Logger } from '../platform/log.ts';
import type { RegistryChange, RegistryChanges } from './changes.ts';

export interface Catalogue {
  /** Loads everything. Rejects when the database does not answer. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** All offers of a type: cheapest first; at one price the better reputation first. Never changes once given out. */
  offers(serviceType: string): readonly Offer[];
  offerById(serviceId: string): Offer | null;
  /** How many offers there are. */
  size(): number;
  /** Reads these services again. What was committed before the call is seen after it. */
  refreshServices(serviceIds: readonly string[]): Promise<void>;
  /** Reads everything again. What was committed before the call is seen after it. */
  refresh(): Promise<void>;
}

interface OfferRow {
  id: string; name: string; type: string; agent_address: string; endpoint: string; price_micros: string; idempotent: boolean;
  refundable: boolean; max_duration_secs: number | null; score: number | null; tier: string | null;
}

const columns = `s.id, s.name, s.type, s.agent_address, s.endpoint, s.price_micros, s.idempotent, s.refundable, s.max_duration_secs,
       r.score, r.tier
  FROM service s JOIN agent a ON a.address = s.agent_address LEFT JOIN agent_stats r ON r.address = s.agent_address
 WHERE s.active AND s.deleted_at IS NULL AND s.endpoint <> '' AND a.deleted_at IS NULL`;
const allSql = { name: 'catalogue-all', text: `SELECT ${columns}` };
const someSql = { name: 'catalogue-some', text: `SELECT ${columns} AND s.id = ANY ($1)` };

/** Changes often come in bursts; one load shall serve a burst. */
const debounceMs = 50;
/** Without notifications the catalogue is read this often; with them, only as a second line of defence. */
const deafEveryMs = 1_000;
const hearingEveryMs = 30_000;
/** A large catalogue that changes all the time is loaded no more often than leaves nine tenths of the processor to others. */
const restPerLoad = 9;
const restMsMax = 1_000;

function toOffer(row: OfferRow): Offer {
  return Object.freeze({
    serviceId: row.id, serviceName: row.name, serviceType: row.type, seller: row.agent_address, endpoint: row.endpoint,
    priceMicros: micros(row.price_micros), idempotent: row.idempotent, refundable: row.refundable, maxDurationSecs: row.max_duration_secs,
    score: row.score ?? freshReputation.score, tier: (row.tier ?? freshReputation.tier) as ReputationTier,
  });
}

function byPriceThenScore(a: Offer, b: Offer): number {
  if (a.priceMicros !== b.priceMicros) return a.priceMicros < b.priceMicros ? -1 : 1;
  return b.score - a.score || (a.serviceId < b.serviceId ? -1 : 1);
}

/** The offers themselves. Lists are replaced, never changed, so a reader may keep one across an await. */
class Shelf {
  readonly byId = new Map<string, Offer>();
  readonly byType = new Map<string, readonly Offer[]>();

  constructor(offers: readonly Offer[]) {
    const grouped = new Map<string, Offer[]>();
    for (const offer of offers) {
      this.byId.set(offer.serviceId, offer);
      const list = grouped.get(offer.serviceType);
      if (list === undefined) grouped.set(offer.serviceType, [offer]);
      else list.push(offer);
    }
    for (const [type, list] of grouped) this.byType.set(type, Object.freeze(list.sort(byPriceThenScore)));
  }

  /** Takes these services off the shelf and puts their present offers on it. */
  replace(serviceIds: readonly string[], offers: readonly Offer[]): void {
    const touched = new Set<string>();
    const gone = new Set(serviceIds);
    for (const id of gone) {
      const old = this.byId.get(id);
      if (old !== undefined) touched.add(old.serviceType);
      this.byId.delete(id);
    }
    for (const offer of offers) {
      touched.add(offer.serviceType);
      this.byId.set(offer.serviceId, offer);
    }
    for (const type of touched) {
      const stay = (this.byType.get(type) ?? []).filter((offer) => !gone.has(offer.serviceId));
      const list = [...stay, ...offers.filter((offer) => offer.serviceType === type)].sort(byPriceThenScore);
      if (list.length === 0) this.byType.delete(type);
      else this.byType.set(type, Object.freeze(list));
    }
  }
}

const nothing: readonly Offer[] = Object.freeze([]);

/** Runs loads one after another. Whoever asks while one runs shares the next, which begins after the asking: it sees their change. */
function createLoader(loadAll: () => Promise<void>, loadSome: (ids: readonly string[]) => Promise<void>) {
  let ids = new Set<string>();
  let all = false;
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<void> | null = null;

  async function run(): Promise<void> {
    const [takeAll, takeIds] = [all, [...ids]];
    [all, ids, next] = [false, new Set(), null];
    await (takeAll ? loadAll() : loadSome(takeIds));
  }
  return (want: readonly string[] | 'all'): Promise<void> => {
    if (want === 'all') all = true;
    else for (const id of want) ids.add(id);
    if (next === null) {
      next = running.then(run);
      running = next.catch(() => undefined);
    }
    return next;
  };
}

/** Creates the catalogue of this process; it is empty until `start` has resolved. */
export function createCatalogue({ pool, changes, log }: { pool: pg.Pool; changes: RegistryChanges; log: Logger }): Catalogue {
  let shelf = new Shelf([]);
  let loadedAt = 0;
  let loadTookMs = 0;
  let failing = false;
  let debounce: NodeJS.Timeout | null = null;
  let timer: NodeJS.Timeout | null = null;
  let unsubscribe: () => void = () => undefined;

  const load = createLoader(
    async () => {
      const startedAt = Date.now();
      const { rows } = await pool.query<OfferRow>(allSql);
      shelf = new Shelf(rows.map(toOffer));
      loadedAt = Date.now();
      loadTookMs = loadedAt - startedAt;
    },
    async (ids) => {
      const { rows } = await pool.query<OfferRow>({ ...someSql, values: [ids] });
      shelf.replace(ids, rows.map(toOffer));
    },
  );

  async function loadQuietly(): Promise<void> {
    try {
      await load('all');
      failing = false;
    } catch (error) {
      // What was known stays on offer: settlement checks nothing here, and an empty catalogue would refuse every buyer.
      if (!failing) log.warn({ err: error }, 'The catalogue of services could not be read; the last known one is used.');
      failing = true;
    }
  }

  function onChange(change: RegistryChange): void {
    if (change === 'api_key' || debounce !== null) return;
    const restMs = Math.min(restMsMax, loadTookMs * restPerLoad) - (Date.now() - loadedAt);
    debounce = setTimeout(() => {
      debounce = null;
      void loadQuietly();
    }, Math.max(debounceMs, restMs));
    debounce.unref();
  }

  function onTimer(): void {
    if (Date.now() - loadedAt >= (changes.isLive() ? hearingEveryMs : deafEveryMs)) void loadQuietly();
  }

  return {
    async start() {
      // First listen, then read: a change in between is then read twice instead of never.
      unsubscribe = changes.subscribe(onChange);
      await load('all');
      timer = setInterval(onTimer, deafEveryMs);
      timer.unref();
    },
    async stop() {
      unsubscribe();
      if (timer !== null) clearInterval(timer);
      if (debounce !== null) clearTimeout(debounce);
    },
    offers: (serviceType) => shelf.byType.get(serviceType) ?? nothing,
    offerById: (serviceId) => shelf.byId.get(serviceId) ?? null,
    size: () => shelf.byId.size,
    refreshServices: (serviceIds) => (serviceIds.length === 0 ? Promise.resolve() : load(serviceIds)),
    refresh: () => load('all'),
  };
}
