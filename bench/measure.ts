/** What a run cost: latencies, processor time and memory, read from the operating system. */
import { readdirSync, readFileSync } from 'node:fs';

export interface LatencyFigures {
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Percentiles by nearest rank; zeros when nothing was measured. */
export function latencyFigures(latenciesMs: readonly number[]): LatencyFigures {
  const sorted = Float64Array.from(latenciesMs).sort();
  const rank = (percent: number) => round(sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0, 2);
  return { p50Ms: rank(50), p95Ms: rank(95), p99Ms: rank(99), maxMs: rank(100) };
}

export function round(value: number, places: number): number {
  const factor = 10 ** places;
  return Math.round(value * factor) / factor;
}

/** Processor time of process groups, in milliseconds since each began. Linux only; zeros elsewhere. */
export interface CpuSample {
  readonly apiMs: number;
  readonly postgresMs: number;
  readonly temporalMs: number;
  readonly sellersMs: number;
  readonly loadMs: number;
}

/** Roots of the process trees to measure. */
export interface ProcessRoots {
  readonly api: number;
  readonly postgres: number;
  readonly temporal: number;
  readonly sellers: number;
  readonly load: number;
}

/** Clock ticks of /proc are hundredths of a second on every Linux that Node supports. */
const MS_PER_TICK = 10;

export function sampleCpu(roots: ProcessRoots): CpuSample {
  const processes = readProcesses();
  const treeMs = (root: number): number => {
    const own = processes.get(root);
    if (own === undefined) return 0;
    const children = [...processes.values()].filter((process) => process.parent === root);
    return own.ms + own.reapedMs + children.reduce((sum, child) => sum + treeMs(child.pid), 0);
  };
  return {
    apiMs: treeMs(roots.api), postgresMs: treeMs(roots.postgres), temporalMs: treeMs(roots.temporal),
    sellersMs: treeMs(roots.sellers), loadMs: treeMs(roots.load),
  };
}

interface ProcessTimes {
  readonly pid: number;
  readonly parent: number;
  readonly ms: number;
  /** Time of children that have ended: without it, a Postgres worker that ends takes its time with it. */
  readonly reapedMs: number;
}

function readProcesses(): Map<number, ProcessTimes> {
  const found = new Map<number, ProcessTimes>();
  for (const pid of numbersIn('/proc').map(Number)) {
    const fields = statFields(pid);
    if (fields === null) continue;
    const at = (index: number) => Number(fields[index] ?? 0) * MS_PER_TICK;
    // Counted from the state, which is field 3 of proc(5): parent 4, utime 14, stime 15, cutime 16, cstime 17.
    found.set(pid, { pid, parent: Number(fields[1]), ms: at(11) + at(12), reapedMs: at(13) + at(14) });
  }
  return found;
}

function statFields(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in brackets may hold spaces and brackets itself.
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

function numbersIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

/** Memory of a process that is really in use, in MB; 0 when it is gone or the system does not tell. */
export function residentMb(pid: number): number {
  try {
    const kilobytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return round(Number(kilobytes ?? 0) / 1024, 1);
  } catch {
    return 0;
  }
}
