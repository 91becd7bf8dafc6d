/** Work a demo seller does: counts the words of a text. Pure, so that a test can check the work with a text of one line. */

/** What the seller answers; numbers of words are counts, times are minutes. */
export interface WordStatistics {
  readonly words: number;
  readonly distinctWords: number;
  readonly sentences: number;
  readonly paragraphs: number;
  readonly longestWord: string;
  readonly averageWordLength: number;
  readonly readingMinutes: number;
  readonly topWords: readonly { readonly word: string; readonly count: number }[];
}

const WORD = /\p{L}[\p{L}\p{M}\p{N}'’-]*/gu;
const SENTENCE_END = /[.!?…]+(?=\s|$)/g;
const READING_WORDS_PER_MINUTE = 230;
const TOP_WORDS = 8;
/** Words that say nothing about what a text is about. */
const SMALL_WORDS = new Set(
  ('a an and are as at be but by can do does for from has have if in into is it its no not of on one or our so than that the their then '
    + 'there they this to was we what when where which who will with you your').split(' '),
);

/** Counts words, sentences and paragraphs, and finds the words the text uses most. An empty text gives zeros. */
export function wordStatistics(text: string): WordStatistics {
  const words = text.match(WORD) ?? [];
  const counts = new Map<string, number>();
  for (const word of words) {
    const key = word.toLowerCase();
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const letters = words.reduce((sum, word) => sum + [...word].length, 0);
  const paragraphs = text.split(/\n\s*\n/).filter((part) => part.trim() !== '').length;
  return {
    words: words.length,
    distinctWords: counts.size,
    // A text without a full stop is still one sentence.
    sentences: words.length === 0 ? 0 : Math.max(1, (text.match(SENTENCE_END) ?? []).length),
    paragraphs,
    longestWord: words.reduce((longest, word) => ([...word].length > [...longest].length ? word : longest), ''),
    averageWordLength: words.length === 0 ? 0 : oneDecimal(letters / words.length),
    readingMinutes: oneDecimal(words.length / READING_WORDS_PER_MINUTE),
    topWords: topWords(counts),
  };
}

function topWords(counts: ReadonlyMap<string, number>): { word: string; count: number }[] {
  return [...counts]
    .filter(([word]) => !SMALL_WORDS.has(word) && word.length > 1)
    // Equal counts are put in alphabetical order, so that the same text always gives the same answer.
    .sort(([wordA, a], [wordB, b]) => b - a || wordA.localeCompare(wordB, 'en'))
    .slice(0, TOP_WORDS)
    .map(([word, count]) => ({ word, count }));
}

function oneDecimal(value: number): number {
  return Math.round(value * 10) / 10;
}
