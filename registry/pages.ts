/** Pages of lists that are read with Prisma, newest first. */

/** The last row of the page before; null for the first page. */
export interface PageWish {
  readonly after: { readonly at: Date; readonly id: string } | null;
  readonly limit: number;
}

/**
 * What comes after a row in a list that is sorted by `created_at` and then by `key`, both descending. The first condition repeats the
 * second: by it the index is entered where the page begins.
 */
export function behind<Key extends 'id' | 'address'>(key: Key, after: PageWish['after']): object {
  if (after === null) return {};
  const { at, id } = after;
  return { AND: [{ createdAt: { lte: at } }, { OR: [{ createdAt: { lt: at } }, { createdAt: at, [key]: { lt: id } }] }] };
}
