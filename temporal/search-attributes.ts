/**
 * Which search attributes a Temporal server offers. One that is missing, or has another type, must stop no payment: starts leave it
 * out, workflows get the list of those that they may upsert, and health says what cannot be searched by.
 */
import type { OperatorService } from '@temporalio/client';
import type { SearchAttributePair } from '@temporalio/common';
import proto from '@temporalio/proto';
import type { Logger } from '../platform/log.ts';
import type { SearchHash } from './search-hash.ts';
import { searchAttributeTypeNames, searchAttributeTypes, type SearchAttributeName } from '../workflows/contracts/search-attribute-types.ts';
import { searchAttributePairs, type SearchAttributeValues } from '../workflows/contracts/search-attributes.ts';

/** Attributes that name somebody; states, outcomes and amounts stay readable. */
const naming: readonly SearchAttributeName[] = ['Buyer', 'Seller', 'Tenant'];

/** What a start carries. */
export interface StartSearchAttributes {
  /** For the options of the start. */
  readonly typedSearchAttributes: SearchAttributePair[];
  /** For `searchAttributes` of the workflow's input: every usable one, since the workflow may set others than its start does. */
  readonly names: SearchAttributeName[];
}

export interface SearchAttributes {
  /** Those that the server has with the right type. */
  usable(): ReadonlySet<SearchAttributeName>;
  /** What a start may carry of these values. Prefer `starting`, which also takes note of a refusal. */
  forStart(values: SearchAttributeValues): StartSearchAttributes;
  /**
   * Runs a start with what it may carry. Where the server refuses it because of an attribute that has just gone or changed, finds out
   * anew and tries again without it. Rejects as `start` does.
   */
  starting<Result>(values: SearchAttributeValues, start: (carried: StartSearchAttributes) => Promise<Result>): Promise<Result>;
  /** How somebody is written in searches, where that is not as the payment has it: for workflows, which have no key. */
  readonly hash: SearchHash | undefined;
  /** A sentence about what cannot be searched by, for health and the log; null when nothing is wrong. */
  detail(): string | null;
  /** Asks the server now, and registers what is missing where that is allowed. Never rejects: without an answer, what was known stays. */
  refresh(): Promise<void>;
  /** Asks no more. */
  stop(): void;
}

export interface SearchAttributesOptions {
  readonly connection: {
    readonly operatorService: OperatorService;
    withDeadline<Result>(deadline: number, ask: () => Promise<Result>): Promise<Result>;
  };
  readonly namespace: string;
  readonly log?: Logger;
  readonly hash?: SearchHash;
  /** How often the server is asked again. */
  readonly everyMs?: number;
}

const EVERY_MS = 60_000;
/** A request may wait for this answer. */
const PATIENCE_MS = 3_000;

const { IndexedValueType } = proto.temporal.api.enums.v1;
const wanted = Object.entries(searchAttributeTypes) as [SearchAttributeName, 'KEYWORD' | 'DOUBLE'][];
const indexedType = { KEYWORD: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD, DOUBLE: IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE } as const;

/** What is wrong with an attribute. */
type Fault = 'missing' | 'mistyped' | 'refused';
type Faults = ReadonlyMap<SearchAttributeName, Fault>;

/** Keeps in mind which attributes the server has. All count as usable until the first `refresh` has been answered. */
export function createSearchAttributes(options: SearchAttributesOptions): SearchAttributes {
  const { connection, namespace, log, hash, everyMs = EVERY_MS } = options;
  let faults: Faults = new Map();
  let asking: Promise<void> | null = null;

  function update(found: Faults): void {
    const before = sentenceOf(faults);
    faults = found;
    const now = sentenceOf(faults);
    if (now === before) return;
    if (now === null) log?.info('Temporal has all search attributes again.');
    else log?.warn(now);
  }

  async function ask(): Promise<void> {
    try {
      update(await connection.withDeadline(Date.now() + PATIENCE_MS, () => askServer(connection.operatorService, namespace)));
    } catch (error) {
      log?.debug({ err: error }, 'Temporal does not say which search attributes it has.');
    }
  }

  const refresh = (): Promise<void> => (asking ??= ask().finally(() => (asking = null)));
  const usable = (): Set<SearchAttributeName> => new Set(wanted.map(([name]) => name).filter((name) => !faults.has(name)));
  const forStart = (values: SearchAttributeValues): StartSearchAttributes => {
    const names = usable();
    return { typedSearchAttributes: searchAttributePairs(hashed(values, hash), names), names: [...names] };
  };
  const timer = setInterval(() => void refresh(), everyMs);
  timer.unref();

  return {
    usable, forStart, refresh, hash,
    async starting(values, start) {
      for (let carried = forStart(values); ;) {
        try {
          return await start(carried);
        } catch (error) {
          if (!isAboutSearchAttributes(error)) throw error;
          await refresh();
          // A server that may not be asked, or whose caches are a minute old, has still said which one it does not take.
          const refused = carried.names.filter((name) => isNamed(name, error));
          update(new Map([...refused.map((name) => [name, 'refused'] as const), ...faults]));
          const again = forStart(values);
          // One attribute at least has gone each time, so this ends.
          if (again.typedSearchAttributes.length >= carried.typedSearchAttributes.length) throw error;
          carried = again;
        }
      }
    },
    detail: () => sentenceOf(faults),
    stop: () => clearInterval(timer),
  };
}

function hashed(values: SearchAttributeValues, hash: SearchHash | undefined): SearchAttributeValues {
  if (hash === undefined) return values;
  return Object.fromEntries(Object.entries(values).map(([name, value]) =>
    [name, typeof value === 'string' && naming.includes(name as SearchAttributeName) ? hash(value) : value]));
}

/** Rejects when the server may not be asked; registering is not always allowed either, and then the attribute stays missing. */
async function askServer(operator: OperatorService, namespace: string): Promise<Faults> {
  const found = await faultsOf(operator, namespace);
  const missing = wanted.filter(([name]) => found.get(name) === 'missing');
  if (missing.length === 0) return found;
  // One by one: a server with room for some of them takes those.
  for (const [name, type] of missing) {
    await operator.addSearchAttributes({ namespace, searchAttributes: { [name]: indexedType[type] } }).catch(() => undefined);
  }
  return faultsOf(operator, namespace);
}

async function faultsOf(operator: OperatorService, namespace: string): Promise<Faults> {
  const { customAttributes } = await operator.listSearchAttributes({ namespace });
  return new Map(wanted.flatMap(([name, type]): [SearchAttributeName, Fault][] => {
    const known = customAttributes?.[name];
    if (known === undefined || known === null) return [[name, 'missing']];
    return known === indexedType[type] ? [] : [[name, 'mistyped']];
  }));
}

function sentenceOf(faults: Faults): string | null {
  if (faults.size === 0) return null;
  const lists = (Object.keys(faultWords) as Fault[]).flatMap((fault) => {
    const names = wanted.filter(([name]) => faults.get(name) === fault)
      .map(([name, type]) => (fault === 'mistyped' ? `${name} (wanted: ${searchAttributeTypeNames[type]})` : name));
    return names.length === 0 ? [] : [`${faultWords[fault]}: ${names.join(', ')}`];
  });
  return `Search attributes of Temporal are ${lists.join('; ')}. Payments go on; searching by these finds nothing that starts meanwhile.`;
}

const faultWords: Readonly<Record<Fault, string>> = {
  missing: 'missing', mistyped: 'of another type', refused: 'refused by the server',
};

/** gRPC errors come wrapped; the words of the server are in the innermost. */
function textOf(error: unknown): string {
  const texts: string[] = [];
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    texts.push(inner.message, (inner as { details?: string }).details ?? '');
  }
  return texts.join(' ');
}

const isAboutSearchAttributes = (error: unknown): boolean => /search attribute/i.test(textOf(error));
const isNamed = (name: string, error: unknown): boolean => new RegExp(`\\b${name}\\b`).test(textOf(error));
