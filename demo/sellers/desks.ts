/** The work behind each offer of the catalogue; only the sellers' own process needs it, and the parser it loads. */
import { demoSellers, NIGHT_SHIFT_MS, SLOW_PRESS_MS, type SellerId } from './catalogue.ts';
import { barChart, type ChartPoint } from './chart.ts';
import { codeMetrics } from './code-metrics.ts';
import type { Desk } from './shop.ts';
import { wordStatistics } from './word-statistics.ts';

const work: Readonly<Record<SellerId, Pick<Desk, 'work' | 'delayMs' | 'laterMs' | 'broken'>>> = {
  wordHouse: { work: (params) => wordStatistics(text(params, 'text')) },
  bargainWords: { work: () => ({}), broken: true },
  codeLens: { work: (params) => codeMetrics(text(params, 'source'), optionalText(params, 'fileName')) },
  chartStudio: { work: (params) => barChart(text(params, 'title'), chartPoints(params['points'])) },
  slowPress: { work: (params) => wordStatistics(text(params, 'text')), delayMs: SLOW_PRESS_MS },
  nightShift: { work: (params) => wordStatistics(text(params, 'text')), laterMs: NIGHT_SHIFT_MS },
};

/** A desk for every seller of the catalogue. */
export const desks: readonly Desk[] = demoSellers.map(({ id, path, price }) => ({ path, price, ...work[id] }));

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
