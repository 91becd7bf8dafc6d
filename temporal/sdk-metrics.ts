/**
 * The figures of Temporal's SDK: task slots, schedule-to-start, the sticky cache, latency of requests. The native half of the SDK keeps
 * them and serves them on a port of this machine; our own /metrics passes them on, so that one scrape has everything.
 */
import { get } from 'node:http';
import type { Logger } from '../platform/log.ts';
import type { MetricsText } from '../platform/metrics.ts';
import { freePort } from '../platform/ports.ts';
import { installTemporalRuntime } from './connection.ts';

/** Another program may take a port between choosing and using it. */
const PORT_TRIES = 3;
/** A scrape waits no longer for them; collecting them takes some milliseconds. */
const ANSWER_MS_MAX = 500;
/** Some hundred series for each queue are 100 kB; more than this is something else that listens there. */
const BYTES_MAX = 8 * 1024 * 1024;

/**
 * Sets up the SDK for this process, as `installTemporalRuntime` does, with its figures.
 * @returns its figures as Prometheus reads them, to be given to `Metrics.addText`.
 * @throws when no port can be listened on, or the SDK was set up before.
 */
export async function installWithMetrics(log: Logger): Promise<MetricsText> {
  for (let tries = 1; ; tries += 1) {
    const address = `127.0.0.1:${await freePort()}`;
    try {
      installTemporalRuntime(log, address);
    } catch (error) {
      if (tries === PORT_TRIES) throw error;
      continue;
    }
    return sdkMetrics(`http://${address}/metrics`);
  }
}

/** Reads them there. Where nobody answers in time, a comment says so: a scrape has the rest all the same. Never rejects. */
export function sdkMetrics(url: string): MetricsText {
  return () => read(url).catch((error: Error) => `# Figures of Temporal's SDK are missing: ${error.message.replaceAll(/\s+/g, ' ')}\n`);
}

function read(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(url, { signal: AbortSignal.timeout(ANSWER_MS_MAX) }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > BYTES_MAX) request.destroy(new Error(`more than ${BYTES_MAX} bytes`));
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString());
        else reject(new Error(`answered ${response.statusCode}`));
      });
    });
    request.on('error', reject);
  });
}
