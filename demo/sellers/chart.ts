/** Work a demo seller does: draws a bar chart as SVG from labelled values. */

/** One bar. */
export interface ChartPoint {
  readonly label: string;
  readonly value: number;
}

/** What the seller answers: the picture, and its size in pixels. */
export interface Chart {
  readonly svg: string;
  readonly width: number;
  readonly height: number;
  readonly bars: number;
}

const WIDTH = 640;
const BAR_HEIGHT = 26;
const BAR_GAP = 10;
const LABEL_WIDTH = 190;
const VALUE_WIDTH = 60;
const TITLE_HEIGHT = 52;
const BARS_MAX = 40;
const LABEL_LETTERS_MAX = 26;

/**
 * Draws horizontal bars, the longest as wide as the picture allows.
 * @throws RangeError when there is nothing to draw, too much of it, or a value that is negative or no number.
 */
export function barChart(title: string, points: readonly ChartPoint[]): Chart {
  if (points.length === 0 || points.length > BARS_MAX) throw new RangeError(`A chart needs between 1 and ${BARS_MAX} points.`);
  if (points.some((point) => !Number.isFinite(point.value) || point.value < 0)) throw new RangeError(
    'Every value must be a number of at least 0.');
  const height = TITLE_HEIGHT + points.length * (BAR_HEIGHT + BAR_GAP) + BAR_GAP;
  const largest = Math.max(...points.map((point) => point.value));
  const bars = points.map((point, index) => bar(point, index, largest)).join('\n');
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" `
    + 'font-family="sans-serif" font-size="13">',
    `<title>${escapeXml(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `<text x="16" y="32" font-size="17" font-weight="bold" fill="#1f2937">${escapeXml(title)}</text>`,
    bars,
    '</svg>',
  ].join('\n');
  return { svg, width: WIDTH, height, bars: points.length };
}

function bar(point: ChartPoint, index: number, largest: number): string {
  const top = TITLE_HEIGHT + index * (BAR_HEIGHT + BAR_GAP);
  const middle = top + BAR_HEIGHT / 2 + 5;
  const room = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
  // All values zero: bars of no length, but labels and numbers still say so.
  const width = largest === 0 ? 0 : Math.round((room * point.value) / largest);
  return [
    `<text x="${LABEL_WIDTH - 10}" y="${middle}" text-anchor="end" fill="#374151">${escapeXml(shorten(point.label))}</text>`,
    `<rect x="${LABEL_WIDTH}" y="${top}" width="${width}" height="${BAR_HEIGHT}" rx="4" fill="#2563eb"/>`,
    `<text x="${LABEL_WIDTH + width + 8}" y="${middle}" fill="#374151">${point.value}</text>`,
  ].join('');
}

function shorten(label: string): string {
  const letters = [...label];
  return letters.length <= LABEL_LETTERS_MAX ? label : `${letters.slice(0, LABEL_LETTERS_MAX - 1).join('')}…`;
}

/** Labels come from strangers: without this a label could carry a script into whoever opens the picture. */
function escapeXml(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };
  // eslint-disable-next-line no-control-regex -- XML forbids these characters outright, even escaped
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '').replace(/[&<>"']/g, (letter) => names[letter] ?? letter);
}
