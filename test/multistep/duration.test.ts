/** Spans of time as clients write them. */
import { parseDuration } from '../../domain/duration.ts';

test.each<[string, number | null]>([
  ['90s', 90_000], ['5m', 300_000], ['1h', 3_600_000], ['1h30m', 5_400_000], ['2d', 172_800_000], ['1.5h', 5_400_000], ['1500ms', 1_500],
  ['0s', 0], ['1d12h', 129_600_000],
  ['0.0001s', 0], ['999999999d', 86_399_999_913_600_000],
  ['', null], ['1', null], ['h', null], ['-1h', null], ['+1h', null], ['1 h', null], ['1H', null], ['1w', null], ['1h ', null],
  ['.5h', null], ['1.h', null], ['1e3s', null], ['١h', null],
  ['9999999999s', null], ['1s'.repeat(9), null], ['1h\n', null],
])('%j is %p ms', (text, ms) => expect(parseDuration(text)).toBe(ms));
