/** What people search workflows by in Temporal's UI and CLI. Starters set most of them; workflows keep the ones about progress. */
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import { searchAttributeTypes, type SearchAttributeName } from './search-attribute-types.ts';

/** Values by name; what has none is left out. */
export type SearchAttributeValues = {
  readonly [Name in SearchAttributeName]?: (typeof searchAttributeTypes)[Name] extends 'DOUBLE' ? number : string;
};

/** What every input says about them, since a server may lack some. */
export interface SearchableInput {
  /** Attributes that the server had, with the right type, when the workflow was started: it upserts no others. None when left out. */
  readonly searchAttributes?: readonly string[];
}

/** The values with typed keys, as far as their attributes are among `usable`. */
export function searchAttributePairs(values: SearchAttributeValues, usable: ReadonlySet<string>): SearchAttributePair[] {
  return (Object.keys(values) as SearchAttributeName[]).flatMap((name) => {
    const value = values[name];
    if (value === undefined || !usable.has(name)) return [];
    // The type of a value follows that of its name, which the compiler does not see once they are in a list.
    return [{ key: defineSearchAttributeKey(name, searchAttributeTypes[name]), value } as SearchAttributePair];
  });
}
