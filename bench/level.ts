/** One level of a case: so many clients for so long, measured from outside and checked against the ledger. */
import type { ChildProcess } from 'node:child_process';
import { formatMicros, parseAmount } from '../domain/money.ts';
import type { BenchCase } from './case.ts';
import type { LoadMessage, LoadOrder } from './load-main.ts';
import { latencyFigures, residentMb, round, sampleCpu, type CpuSample, type LatencyFigures } from './measure.ts';
import { pathsBetween, readPaths, type PathCounts } from './paths.ts';
import { availableOf, markLedger, readLedger, type LedgerFigures } from './verify.ts';
import type { World } from './world.ts';

export interface LevelOptions {
  readonly clients: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

/** What is printed and written about a level. Processor time is given for each paid call. */
export interface LevelResult extends LatencyFigures {
  readonly clients: number;
  readonly seconds: number;
  /** Paid units of the case: calls, escrows, pipelines, ticks. */
  readonly callsPerSecond: number;
  /** Median of what the platform added to the time of the sellers, where the case tells that. */
  readonly addedMsP50: number | null;
  readonly cpuMsPerCall: { readonly api: number; readonly postgres: number; readonly temporal: number;
    readonly sellers: number; readonly load: number };
  readonly apiRssMb: number;
  /** Medians of the requests of a turn, where the case tells them. */
  readonly stepsMsP50: Readonly<Record<string, number>>;
  /** Which way steps of payments went, warm-up included. */
  readonly paths: PathCounts;
  readonly books: LevelBooks;
}

/** What the load saw, what the sellers did, and what the ledger says; over warm-up and measurement together. */
export interface LevelBooks {
  readonly answeredPaid: number;
  readonly refused: number;
  readonly broken: number;
  readonly deliveries: number;
  readonly settled: number;
  readonly paid: string;
  /** Answered as paid, or delivered, without the seller's balance having risen. Must be 0. */
  readonly unpaid: number;
  /** The rise of the sellers' balances is the settled calls times the price. */
  readonly balancesAgree: boolean;
  readonly stuck: number;
  readonly lastError: string | null;
}

type Report = Extract<LoadMessage, { kind: 'report' }>;

/** A load generator that has not reported this long after its time is lost. */
const REPORT_GRACE_MS = 60_000;
const RSS_EVERY_MS = 250;

export async function runLevel(world: World, benchCase: BenchCase, setup: unknown, options: LevelOptions): Promise<LevelResult> {
  const payees = benchCase.payees(world);
  const mark = await markLedger(world.pool);
  const availableBefore = await availableOf(world.pool, payees);
  const deliveriesBefore = await deliveriesOf(world.sellerProcess.process);
  const pathsBefore = await readPaths(world.wire);
  const { report, cpu, rssMb } = await load(world, {
    caseName: benchCase.name, setup, host: world.host, port: world.port, clients: options.clients,
    warmUpMs: options.warmUpSeconds * 1000, measureMs: options.seconds * 1000,
  });
  const paths = pathsBetween(pathsBefore, await readPaths(world.wire));
  await benchCase.finish?.(world, setup);
  const ledger = await readLedger(world.pool, mark, payees);
  const deliveries = (await deliveriesOf(world.sellerProcess.process)) - deliveriesBefore;
  const books = compare(report, deliveries, ledger, (await availableOf(world.pool, payees)) - availableBefore, benchCase);
  // Whatever was not paid does not count, wherever in the run it happened.
  const counted = Math.max(0, report.paidInWindow * benchCase.unitsPerTurn - books.unpaid);
  const perCall = (ms: number) => (counted === 0 ? 0 : round(ms / counted, 3));
  return {
    clients: options.clients, seconds: round(report.windowMs / 1000, 2), callsPerSecond: round(counted / (report.windowMs / 1000), 1),
    ...latencyFigures(report.latenciesMs), addedMsP50: report.addedMs.length === 0 ? null : latencyFigures(report.addedMs).p50Ms,
    cpuMsPerCall: { api: perCall(cpu.apiMs), postgres: perCall(cpu.postgresMs), temporal: perCall(cpu.temporalMs),
      sellers: perCall(cpu.sellersMs), load: perCall(cpu.loadMs) },
    apiRssMb: rssMb, paths, books,
    stepsMsP50: Object.fromEntries(Object.entries(report.stepsMs).map(([step, taken]) => [step, latencyFigures(taken).p50Ms])),
  };
}

/** Holds the three sides against each other. What was settled is counted in money, because one posting may pay for many units. */
export function compare(
  report: Pick<Report, 'paid' | 'refused' | 'broken' | 'lastError'>, deliveries: number, ledger: LedgerFigures, balanceRise: bigint,
  { unitsPerTurn, deliveriesPerUnit, pricePerUnit }: Pick<BenchCase, 'unitsPerTurn' | 'deliveriesPerUnit' | 'pricePerUnit'>,
): LevelBooks {
  const price = parseAmount(pricePerUnit);
  const settled = Number(ledger.paidMicros / price);
  const answeredPaid = report.paid * unitsPerTurn;
  const delivered = deliveriesPerUnit === 0 ? 0 : Math.ceil(deliveries / deliveriesPerUnit);
  return {
    answeredPaid, refused: report.refused, broken: report.broken, lastError: report.lastError, deliveries, settled,
    paid: formatMicros(ledger.paidMicros), stuck: ledger.stuck,
    unpaid: Math.max(0, answeredPaid - settled, delivered - settled),
    balancesAgree: balanceRise === ledger.paidMicros && ledger.paidMicros % price === 0n,
  };
}

/** Sends the order to the load process and watches the others while it measures. */
function load(world: World, order: LoadOrder): Promise<{ report: Report; cpu: CpuSample; rssMb: number }> {
  const { process: child } = world.load;
  return new Promise((resolve, reject) => {
    let before: CpuSample | undefined;
    let cpu: CpuSample | undefined;
    let rssMb = 0;
    let watch: NodeJS.Timeout | undefined;
    const lost = setTimeout(() => finish(() => reject(new Error('The load generator did not report.'))),
      order.warmUpMs + order.measureMs + REPORT_GRACE_MS);
    const onExit = () => finish(() => reject(new Error('The load generator ended before it reported.')));
    const finish = (end: () => void) => {
      clearTimeout(lost);
      clearInterval(watch);
      child.off('message', onMessage).off('exit', onExit);
      end();
    };
    const onMessage = (message: LoadMessage) => {
      if (message.kind === 'measuring') {
        before = sampleCpu(world.roots);
        watch = setInterval(() => { rssMb = Math.max(rssMb, residentMb(world.api.pid)); }, RSS_EVERY_MS);
      } else if (message.kind === 'measured') {
        clearInterval(watch);
        cpu = before === undefined ? undefined : difference(sampleCpu(world.roots), before);
      } else if (message.kind === 'report') {
        finish(() => (cpu === undefined ? reject(new Error('The load generator reported without measuring.'))
          : resolve({ report: message, cpu, rssMb })));
      }
    };
    child.on('message', onMessage).once('exit', onExit);
    child.send(order);
  });
}

function difference(after: CpuSample, before: CpuSample): CpuSample {
  return {
    apiMs: after.apiMs - before.apiMs, postgresMs: after.postgresMs - before.postgresMs, temporalMs: after.temporalMs - before.temporalMs,
    sellersMs: after.sellersMs - before.sellersMs, loadMs: after.loadMs - before.loadMs,
  };
}

function deliveriesOf(sellers: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    sellers.once('message', (message) => resolve((message as { deliveries: number }).deliveries));
    sellers.send('count');
  });
}
