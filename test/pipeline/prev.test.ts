/** How the answer of one step reaches the next: `$prev`, as a table. */
import { FILLED_CHARS_MAX, fillPrevious } from '../../domain/prev.ts';

const previous = { output: 'bonjour', words: 2, list: [{ name: 'first' }, 'second'], nested: { deep: { er: true } }, nothing: null,
  'a.b': 'dotted', empty: '' };

test.each<[string, unknown, unknown]>([
  ['the whole answer, as an object', { all: '$prev' }, { all: previous }],
  ['text, as text', { text: '$prev.output' }, { text: 'bonjour' }],
  ['empty text', { text: '$prev.empty' }, { text: '' }],
  ['a number, as its JSON text', { count: '$prev.words' }, { count: '2' }],
  ['null, as its JSON text', { x: '$prev.nothing' }, { x: 'null' }],
  ['an object, as its JSON text', { x: '$prev.nested' }, { x: '{"deep":{"er":true}}' }],
  ['a list, as its JSON text', { x: '$prev.list' }, { x: '[{"name":"first"},"second"]' }],
  ['a value deep inside', { x: '$prev.nested.deep.er' }, { x: 'true' }],
  ['an entry of a list', { x: '$prev.list.0.name', y: '$prev.list.1' }, { x: 'first', y: 'second' }],
  ['at any depth, in lists too', { a: [{ b: ['$prev.output'] }] }, { a: [{ b: ['bonjour'] }] }],
  ['a path that leads nowhere, as it was written', { x: '$prev.missing', y: '$prev.output.length', z: '$prev.list.9', w: '$prev.' },
    { x: '$prev.missing', y: '$prev.output.length', z: '$prev.list.9', w: '$prev.' }],
  ['nothing inside longer text', { x: 'see $prev', y: '$prev.output!', z: ' $prev', w: '$previous' },
    { x: 'see $prev', y: '$prev.output!', z: ' $prev', w: '$previous' }],
  ['nothing in names of fields', { $prev: 1, '$prev.output': 2 }, { $prev: 1, '$prev.output': 2 }],
  ['nothing of what every object has', { x: '$prev.constructor', y: '$prev.__proto__', z: '$prev.toString', w: '$prev.list.length' },
    { x: '$prev.constructor', y: '$prev.__proto__', z: '$prev.toString', w: '$prev.list.length' }],
  ['values that are no text, as they are', { x: 1, y: null, z: [true] }, { x: 1, y: null, z: [true] }],
])('fills in %s', (_what, params, expected) => {
  const filled = fillPrevious(JSON.stringify(params), JSON.stringify(previous));
  expect(filled).toEqual({ ok: true, json: JSON.stringify(expected) });
});

test('the first step has no previous answer, nor has one after an empty answer: the text stays', () => {
  expect(fillPrevious('{"x":"$prev","y":"$prev.a"}', null)).toEqual({ ok: true, json: '{"x":"$prev","y":"$prev.a"}' });
});

test('a field called __proto__ is handed on as a field, and changes nothing else', () => {
  const filled = fillPrevious('{"__proto__":{"polluted":"$prev.__proto__.polluted"}}', '{"__proto__":{"polluted":"yes"}}');
  expect(filled).toEqual({ ok: true, json: '{"__proto__":{"polluted":"yes"}}' });
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});

test('what was filled in is not filled in again', () => {
  expect(fillPrevious('{"x":"$prev.a"}', '{"a":"$prev.b","b":"no"}')).toEqual({ ok: true, json: '{"x":"$prev.b"}' });
});

test('few bytes that stand for many are counted before they are made', () => {
  const large = JSON.stringify({ a: 'x'.repeat(1_000_000) });
  expect(fillPrevious('{"x":["$prev","$prev.a"]}', large)).toMatchObject({ ok: true });
  const bomb = JSON.stringify({ x: Array(1_000).fill('$prev.a') });
  expect(fillPrevious(bomb, large)).toEqual({ ok: false, reason: expect.stringMatching(/larger than 5 MiB/) });
  expect(fillPrevious(JSON.stringify({ x: Array(1_000).fill('$prev') }), large))
    .toEqual({ ok: false, reason: expect.stringMatching(/larger/) });
  // Escapes make text longer when it is written.
  expect(fillPrevious('{"x":"$prev.a"}', JSON.stringify({ a: '\u0001'.repeat(FILLED_CHARS_MAX / 4) })))
    .toEqual({ ok: false, reason: expect.stringMatching(/larger/) });
});

test('an answer of a hundred thousand brackets is refused, not fatal', () => {
  const deep = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  expect(fillPrevious('{"x":"$prev"}', deep)).toEqual({ ok: false, reason: expect.stringMatching(/nested too deeply/) });
  expect(fillPrevious(`{"x":${'['.repeat(300)}"$prev"${']'.repeat(300)}}`, '{}'))
    .toEqual({ ok: false, reason: expect.stringMatching(/nested too deeply/) });
});
