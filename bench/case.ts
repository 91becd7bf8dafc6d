/**
 * What a benchmark case is. One file in `cases/` for each; `main.ts` lists them. A case lives in two processes: `prepare` and
 * `paid` run beside the database, `turns` runs in the load generator and sees only what `prepare` returned, as JSON.
 */
import type { HttpClient } from './http-client.ts';
import type { World } from './world.ts';

/** One client's next turn: everything that counts as one operation. Gives null when it was paid, else why the platform refused. */
export type Turn = (client: HttpClient, random: () => number) => Promise<string | null>;

export interface BenchCase<Setup = unknown> {
  readonly name: string;
  /** One sentence for the report. */
  readonly summary: string;
  /** Buyers and sellers the case needs. */
  readonly population: { readonly buyers: number; readonly sellers: number };
  /** Makes whatever the turns use. The result must survive JSON. */
  prepare(world: World): Promise<Setup>;
  /** Called once in the load process. */
  turns(setup: Setup, target: { readonly host: string; readonly port: number }): Turn;
  /** Sellers that are paid in this case, by address. */
  payees(world: World): readonly string[];
  /** Price of one turn, as a decimal string. */
  readonly price: string;
}
