/** Pages of a list: one row more than fits is read, cut off again, and says that there is another page. */
import { z } from 'zod';
import type { Answer } from './route.ts';

/** Whether there is more, and where that begins, in the answer of every list. */
export const onwardOut = { has_more: z.boolean(), next_cursor: z.string().optional() };

/** The same with how many rows this page has. */
export const pagingOut = { count: z.number().int(), ...onwardOut };

/** Rows of a page. `more`: others follow. */
export interface Page<Row> {
  readonly rows: readonly Row[];
  readonly more: boolean;
}

/** @param rows in order, read with `limit + 1`. */
export function cutPage<Row>(rows: readonly Row[], limit: number): Page<Row> {
  return { rows: rows.slice(0, limit), more: rows.length > limit };
}

/** @param cursorAfter the cursor behind a row; asked of the last one when others follow. */
export function onward<Row>({ rows, more }: Page<Row>, cursorAfter: (last: Row) => string): { has_more: boolean; next_cursor?: string } {
  const last = rows.at(-1);
  return more && last !== undefined ? { has_more: true, next_cursor: cursorAfter(last) } : { has_more: more };
}

/** How a list is answered: `{"<name>": […], count, has_more, next_cursor}`. */
export interface ListWording<Row> {
  readonly name: string;
  readonly show: (row: Row) => object;
  readonly cursorAfter: (last: Row) => string;
}

/** The answer of a list. */
export function listAnswer<Row>(page: Page<Row>, { name, show, cursorAfter }: ListWording<Row>): Answer {
  return { body: { [name]: page.rows.map((row) => show(row)), count: page.rows.length, ...onward(page, cursorAfter) } };
}
