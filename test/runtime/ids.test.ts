import { describe, expect, test } from '@jest/globals';
import { idPrefixes, type IdKind } from '../../domain/ids.ts';
import { createIdDigits, newId } from '../../platform/random.ts';

/** As SQL, file names and `sort` order them: by code units, not by locale. */
const sorted = (ids: readonly string[]): string[] => [...ids].sort();

describe('ids', () => {
  test('sort by the order in which they were made, over many in the same millisecond, and are never the same', () => {
    const ids = Array.from({ length: 10_000 }, () => newId('call'));
    expect(sorted(ids)).toEqual(ids);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('sort by time across processes', () => {
    const of = (at: number): string => createIdDigits({ now: () => at, random: () => Math.floor(Math.random() * 2 ** 32) })();
    const times = [0, 1, 999_999, 1_700_000_000_000, 1_700_000_000_001, Date.now(), Date.UTC(2400, 0, 1)];
    const ids = times.map(of);
    expect(sorted(ids)).toEqual(ids);
  });

  test.each(Object.keys(idPrefixes) as IdKind[])('of kind %s have its prefix and 24 hexadecimal digits, as the wire promises', (kind) => {
    expect(newId(kind)).toMatch(new RegExp(`^${idPrefixes[kind]}[0-9a-f]{24}$`));
  });

  test('say when they were made, and differ in what is random', () => {
    const before = Date.now();
    const [one, other] = [newId('event'), newId('event')].map((id) => id.slice(idPrefixes.event.length));
    expect(Number.parseInt(one!.slice(0, 11), 16)).toBeGreaterThanOrEqual(before);
    expect(Number.parseInt(one!.slice(0, 11), 16)).toBeLessThanOrEqual(Date.now() + 1);
    expect(one!.slice(11)).not.toBe(other!.slice(11));
  });

  test('keep their order when the clock is set back, and when a millisecond is full', () => {
    const times = [1_000, 1_001, 900, 900, 1_001, 1_002];
    const back = createIdDigits({ now: () => times.shift() ?? 1_003, random: () => 5 });
    const ids = Array.from({ length: 7 }, () => back());
    expect(sorted(ids)).toEqual(ids);

    const full = createIdDigits({ now: () => 1_000, random: () => 2 ** 32 - 1 });
    const many = Array.from({ length: 1_200_000 }, () => full());
    expect(many.every((id, at) => at === 0 || many[at - 1]! < id)).toBe(true);
    expect(many.at(-1)).toHaveLength(24);
    expect(Number.parseInt(many.at(-1)!.slice(0, 11), 16)).toBeGreaterThan(1_000);
  });
});
