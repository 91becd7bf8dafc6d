/**
 * What a benchmark case is. One file in `cases/` for each; `main.ts` lists them. A case lives in two processes: `prepare` and
 * `paid` run beside the database, `turns` runs in the load generator and sees only what `prepare` returned, as JSON.
 */
import type { HttpClient } from './http-client.ts';
import type { World } from './world.ts';

/** How a turn ended: null when everything was paid, a refusal in the platform's words, or paid with what its parts took of its time. */
export type TurnEnd = null | string | {
  /** What the sellers needed. */
  readonly sellersMs?: number;
  /** What each request took, by its name. */
  readonly stepsMs?: Readonly<Record<string, number>>;
};

/** One client's next turn, through real HTTP. */
export type Turn = (client: HttpClient, random: () => number) => Promise<TurnEnd>;

export interface BenchCase<Setup = unknown> {
  readonly name: string;
  /** One sentence for the report. */
  readonly summary: string;
  /** What is counted, in the plural: calls, escrows, ticks. */
  readonly unit: string;
  /** How many of them one turn makes. */
  readonly unitsPerTurn: number;
  /** Deliveries of sellers behind one of them; 0 where the platform asks no seller. */
  readonly deliveriesPerUnit: number;
  /** Buyers and sellers the case needs. */
  readonly population: { readonly buyers: number; readonly sellers: number };
  /** Price of a service of the sellers, as a decimal string. */
  readonly price: string;
  /** What one unit moves to sellers, as a decimal string. */
  readonly pricePerUnit: string;
  /** Makes whatever the turns use: once, or before each level where `finish` ends what was made. The result must survive JSON. */
  prepare(world: World): Promise<Setup>;
  /** Called once in the load process. */
  turns(setup: Setup, target: { readonly host: string; readonly port: number }): Turn;
  /** After the turns of a level, for what is paid only at its end. */
  finish?(world: World, setup: Setup): Promise<void>;
  /** Sellers that are paid in this case, by address. */
  payees(world: World): readonly string[];
}
