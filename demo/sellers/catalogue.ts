/** The sellers of the demo: who they are, what they sell and for how much. `desks.ts` does the work. */

export type SellerId = 'wordHouse' | 'bargainWords' | 'codeLens' | 'chartStudio' | 'slowPress' | 'nightShift';

/** A seller as it registers with the platform: one agent with one service. */
export interface DemoSeller {
  /** Short name within the demo. */
  readonly id: SellerId;
  readonly name: string;
  readonly description: string;
  readonly serviceType: string;
  readonly serviceName: string;
  /** Path of its endpoint. */
  readonly path: string;
  readonly price: string;
  /** The time that it declares for its work, where that is longer than a buyer waits. */
  readonly maxDurationSecs?: number;
  /** Joins the market only in the step that is about a broken seller. */
  readonly comesLater?: boolean;
}

/** How long Slow Press works: long enough to kill the platform's process in the middle. */
export const SLOW_PRESS_MS = 4_000;

/** How long Night Shift works after it has taken an order; nobody waits for it. */
export const NIGHT_SHIFT_MS = 3_000;

export const demoSellers: readonly DemoSeller[] = [
  { id: 'wordHouse', name: 'Word House', description: 'Counts the words of a text.', serviceType: 'word-statistics',
    serviceName: 'Word statistics', path: '/word-house', price: '0.02' },
  {
    id: 'bargainWords', name: 'Bargain Words', description: 'Cheapest word counts in town, and out of order today.',
    serviceType: 'word-statistics', serviceName: 'Bargain statistics',
    path: '/bargain-words', price: '0.005', comesLater: true,
  },
  { id: 'codeLens', name: 'Code Lens', description: 'Parses source code and measures it.', serviceType: 'code-metrics',
    serviceName: 'Code metrics', path: '/code-lens', price: '0.05' },
  { id: 'chartStudio', name: 'Chart Studio', description: 'Draws bar charts as SVG.', serviceType: 'chart', serviceName: 'Bar chart',
    path: '/chart-studio', price: '0.04' },
  { id: 'slowPress', name: 'Slow Press', description: 'Reads a text thoroughly, and takes its time.', serviceType: 'thorough-reading',
    serviceName: 'Thorough reading', path: '/slow-press', price: '0.10' },
  { id: 'nightShift', name: 'Night Shift', description: 'Takes orders for long texts, and delivers when it is done.',
    serviceType: 'deep-reading', serviceName: 'Deep reading', path: '/night-shift', price: '0.15', maxDurationSecs: 600 },
];
