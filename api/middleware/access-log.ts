import type { Logger } from '../../platform/log.ts';

/** One answered request, as it is logged. Never with headers, bodies or query strings, which hold secrets. */
export interface AccessLine {
  readonly requestId: string;
  readonly method: string;
  /** The pattern of the route, or the path where no route matched. */
  readonly path: string;
  readonly status: number;
  readonly ms: number;
  readonly ip: string;
  readonly agent: string | undefined;
  readonly code: string | undefined;
  /** What went wrong inside, for failures that are ours. */
  readonly err: unknown;
}

/**
 * Failures of ours at `error`, busy and draining at `warn`, refusals at `info`, everything else at `debug`. The line is only made
 * when somebody reads it: at a thousand requests a second even an object costs.
 */
export function createAccessLog(log: Logger): (status: number, line: () => AccessLine) => void {
  return (status, line) => {
    const level = levelOf(status);
    if (!log.isLevelEnabled(level)) return;
    const { method, path, ...rest } = line();
    log[level]({ method, path, ...rest }, `${method} ${path} ${status}`);
  };
}

function levelOf(status: number): 'error' | 'warn' | 'info' | 'debug' {
  if (status === 500) return 'error';
  if (status > 500) return 'warn';
  return status >= 400 ? 'info' : 'debug';
}
