import { wordStatistics } from '../../demo/sellers/word-statistics.ts';
import { codeMetrics } from '../../demo/sellers/code-metrics.ts';
import { barChart } from '../../demo/sellers/chart.ts';

describe('word statistics', () => {
  test('counts words, sentences and paragraphs of a small text', () => {
    const result = wordStatistics('Money moves once. Money never moves twice!\n\nThe ledger knows it.');
    expect(result).toMatchObject({ words: 11, distinctWords: 9, sentences: 3, paragraphs: 2, longestWord: 'ledger' });
    expect(result.topWords.slice(0, 3)).toEqual([{ word: 'money', count: 2 }, { word: 'moves', count: 2 }, { word: 'knows', count: 1 }]);
  });

  test.each([
    ['', { words: 0, sentences: 0, paragraphs: 0, longestWord: '', averageWordLength: 0, readingMinutes: 0, topWords: [] }],
    ['no full stop here', { words: 4, sentences: 1, paragraphs: 1 }],
    ["don't count it's twice", { words: 4, longestWord: "don't" }],
    ['Überweisung über Nacht', { words: 3, distinctWords: 3, longestWord: 'Überweisung' }],
    ['1234 5678 --- !!!', { words: 0, sentences: 0 }],
    ['version 1.5 is out', { words: 3, sentences: 1 }],
  ])('reads %j', (text, expected) => {
    expect(wordStatistics(text)).toMatchObject(expected);
  });

  test('gives the same answer for the same text when several words are equally frequent', () => {
    expect(wordStatistics('pear apple fig').topWords.map((item) => item.word)).toEqual(['apple', 'fig', 'pear']);
  });
});

describe('code metrics', () => {
  const source = [
    '/** Adds. */',
    'export function add(a: number, b: number): number {',
    '  // the sum',
    '  return a + b;',
    '}',
    '',
    'const pick = (x: number | null) => (x !== null && x > 0 ? x : 0);',
    'class Box {',
    '  open(items: string[]) {',
    '    for (const item of items) if (item) return item;',
    '    return items.map((item) => item ?? "")[0];',
    '  }',
    '}',
  ].join('\n');

  test('finds every function with its length and its complexity', () => {
    const { functions } = codeMetrics(source);
    expect(functions).toEqual([
      { name: 'add', line: 2, lines: 4, complexity: 1 },
      { name: 'pick', line: 7, lines: 1, complexity: 3 },
      { name: 'open', line: 9, lines: 4, complexity: 3 },
      { name: '(anonymous)', line: 11, lines: 1, complexity: 2 },
    ]);
  });

  test('tells code, comment and blank lines apart', () => {
    expect(codeMetrics(source)).toMatchObject({ lines: 13, codeLines: 10, commentLines: 2, blankLines: 1 });
  });

  test('names the longest and the most complex function', () => {
    const result = codeMetrics(source);
    expect(result.longestFunction?.name).toBe('add');
    expect(result.mostComplexFunction?.name).toBe('pick');
  });

  test('counts lines inside a template text as code, even empty ones', () => {
    expect(codeMetrics('const text = `one\n\nthree`;\n')).toMatchObject({ lines: 3, codeLines: 3, commentLines: 0, blankLines: 0 });
  });

  test.each([['', 0], ['const x = ;;; {{{', 1]])('measures %j without complaint', (text, lines) => {
    expect(codeMetrics(text)).toMatchObject({ lines, functions: [], longestFunction: null });
  });
});

describe('bar chart', () => {
  const widths = (svg: string) => [...svg.matchAll(/<rect x="\d+" y="\d+" width="(\d+)"/g)].map((match) => Number(match[1]));

  test('draws bars in proportion to the values', () => {
    const { svg, bars } = barChart('Sales', [{ label: 'north', value: 10 }, { label: 'south', value: 5 }]);
    const [north = 0, south = 0] = widths(svg);
    expect(bars).toBe(2);
    expect(south * 2).toBe(north);
    expect(svg).toContain('>north</text>');
  });

  test('escapes what a stranger wrote into a label', () => {
    const { svg } = barChart('<script>alert(1)</script>', [{ label: '"><img onerror=x>', value: 1 }]);
    expect(svg).not.toMatch(/<script|<img/);
    expect(svg).toContain('&lt;script&gt;');
  });

  test('draws bars of no length when every value is zero', () => {
    expect(widths(barChart('Nothing', [{ label: 'a', value: 0 }]).svg)).toEqual([0]);
  });

  test.each([
    ['no points', []],
    ['a negative value', [{ label: 'a', value: -1 }]],
    ['a value that is no number', [{ label: 'a', value: Number.NaN }]],
    ['too many points', Array.from({ length: 41 }, () => ({ label: 'a', value: 1 }))],
  ])('refuses %s', (_, points) => {
    expect(() => barChart('Bad', points)).toThrow(RangeError);
  });
});
