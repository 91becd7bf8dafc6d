/** What a workflow shows of its progress to those who search for it. */
import { upsertSearchAttributes } from '@temporalio/workflow';
import { searchAttributePairs, type SearchAttributeValues } from './contracts/search-attributes.ts';

/**
 * Upserts the values whose attributes the workflow's input names. An attribute that the server does not have would fail the workflow
 * task again and again, and with it the payment.
 * @param named `searchAttributes` of the input.
 */
export function showInSearches(named: readonly string[] | undefined, values: SearchAttributeValues): void {
  const pairs = searchAttributePairs(values, new Set(named));
  if (pairs.length > 0) upsertSearchAttributes(pairs);
}
