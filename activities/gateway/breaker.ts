/**
 * Leaves a seller alone for a while after failures in a row (contract alancoin-platform 11.6). One endpoint, one circuit, in the
 * memory of this process: each process counts for itself, which costs a few failed attempts and no coordination.
 */
import { LRUCache } from 'lru-cache';

interface Circuit {
  failures: number;
  /** 0 while closed. */
  openUntilMs: number;
  /** When the single trial of a half-open circuit began; it counts as failed when nothing is heard of it. */
  probeAtMs: number;
}

export interface Breaker {
  /** May this endpoint be asked now? In a half-open circuit the first to ask becomes the trial. */
  allows(endpoint: string): boolean;
  /** `ok` also for answers that are the buyer's fault (4xx): the seller is alive. */
  report(endpoint: string, ok: boolean): void;
}

const ENDPOINTS_MAX = 20_000;

/** @param threshold failures in a row that open the circuit. @param openMs how long it stays open before one trial. */
export function createBreaker({ threshold, openMs, now = Date.now }: { threshold: number; openMs: number; now?: () => number }): Breaker {
  const circuits = new LRUCache<string, Circuit>({ max: ENDPOINTS_MAX });
  return {
    allows(endpoint) {
      const circuit = circuits.get(endpoint);
      if (circuit === undefined || circuit.openUntilMs === 0) return true;
      const atMs = now();
      // A trial that was never reported, because its process was slow or its call ended elsewhere, must not block the seller for good.
      if (atMs < circuit.openUntilMs || atMs < circuit.probeAtMs + openMs) return false;
      circuit.probeAtMs = atMs;
      return true;
    },
    report(endpoint, ok) {
      if (ok) {
        circuits.delete(endpoint);
        return;
      }
      const circuit = circuits.get(endpoint) ?? { failures: 0, openUntilMs: 0, probeAtMs: 0 };
      circuit.failures += 1;
      circuit.probeAtMs = 0;
      if (circuit.failures >= threshold) circuit.openUntilMs = now() + openMs;
      circuits.set(endpoint, circuit);
    },
  };
}
