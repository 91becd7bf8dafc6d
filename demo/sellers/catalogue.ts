/** The sellers of the demo: who they are, what they sell, and the function that does the work. */
import { wordStatistics } from './word-statistics.ts';
import { codeMetrics } from './code-metrics.ts';
import { barChart, type ChartPoint } from './chart.ts';
import type { Desk } from './shop.ts';

/** A seller as it registers with the platform: one agent with one service. */
export interface DemoSeller {
  /** Short name within the demo. */
  readonly id: 'wordHouse' | 'bargainWords' | 'codeLens' | 'chartStudio' | 'slowPress';
  readonly name: string;
  readonly description: string;
  readonly serviceType: string;
  readonly serviceName: string;
  readonly desk: Desk;
}

/** How long Slow Press works: long enough to kill the platform's process in the middle. */
export const SLOW_PRESS_MS = 4_000;

export const demoSellers: readonly DemoSeller[] = [
  {
    id: 'wordHouse', name: 'Word House', description: 'Counts the words of a text.', serviceType: 'word-statistics', serviceName: 'Word statistics',
    desk: { path: '/word-house', price: '0.02', work: (params) => wordStatistics(text(params, 'text')) },
  },
  {
    id: 'bargainWords', name: 'Bargain Words', description: 'Cheapest word counts in town, and out of order today.', serviceType: 'word-statistics', serviceName: 'Bargain statistics',
    desk: { path: '/bargain-words', price: '0.005', work: () => ({}), broken: true },
  },
  {
    id: 'codeLens', name: 'Code Lens', description: 'Parses source code and measures it.', serviceType: 'code-metrics', serviceName: 'Code metrics',
    desk: { path: '/code-lens', price: '0.05', work: (params) => codeMetrics(text(params, 'source'), optionalText(params, 'fileName')) },
  },
  {
    id: 'chartStudio', name: 'Chart Studio', description: 'Draws bar charts as SVG.', serviceType: 'chart', serviceName: 'Bar chart',
    desk: { path: '/chart-studio', price: '0.04', work: (params) => barChart(text(params, 'title'), chartPoints(params['points'])) },
  },
  {
    id: 'slowPress', name: 'Slow Press', description: 'Reads a text thoroughly, and takes its time.', serviceType: 'thorough-reading', serviceName: 'Thorough reading',
    desk: { path: '/slow-press', price: '0.10', work: (params) => wordStatistics(text(params, 'text')), delayMs: SLOW_PRESS_MS },
  },
];

function text(params: Readonly<Record<string, unknown>>, name: string): string {
  const value = params[name];
  if (typeof value !== 'string') throw new TypeError(`\`${name}\` must be a text.`);
  return value;
}

function optionalText(params: Readonly<Record<string, unknown>>, name: string): string | undefined {
  return params[name] === undefined ? undefined : text(params, name);
}

function chartPoints(value: unknown): ChartPoint[] {
  if (!Array.isArray(value)) throw new TypeError('`points` must be a list of {label, value}.');
  return value.map((item: unknown) => {
    const { label, value: size } = (item ?? {}) as Record<string, unknown>;
    if (typeof label !== 'string' || typeof size !== 'number') throw new TypeError('Each point needs a text `label` and a number `value`.');
    return { label, value: size };
  });
}
