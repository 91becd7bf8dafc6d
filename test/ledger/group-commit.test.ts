/** How requests share a statement: order, sizes, poison, and an unreachable database. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createGroupCommit, GROUP_BYTES } from '../../ledger/group-commit.ts';

/** A step that remembers its groups and can be made to fail. */
function aStep(fails: (group: readonly number[]) => Error | null = () => null) {
  const groups: number[][] = [];
  const run = async (items: readonly number[]): Promise<number[]> => {
    groups.push([...items]);
    await sleep(5);
    const error = fails(items);
    if (error !== null) throw error;
    return items.map((item) => item * 10);
  };
  return { groups, run };
}
const always = (): boolean => true;

test('requests of one turn travel together, and each gets its own answer', async () => {
  const { groups, run } = aStep();
  const commit = createGroupCommit({ itemsMax: 100, lanes: 1, run, isItemError: always });
  expect(await Promise.all([1, 2, 3].map((item) => commit(item)))).toEqual([10, 20, 30]);
  expect(groups).toEqual([[1, 2, 3]]);
});

test('a lone request goes at once, and those behind it gather in the order they came', async () => {
  const { groups, run } = aStep();
  const commit = createGroupCommit({ itemsMax: 100, lanes: 1, run, isItemError: always });
  const first = commit(1);
  await sleep(1);
  const others = [2, 3, 4].map((item) => commit(item));
  expect(await Promise.all([first, ...others])).toEqual([10, 20, 30, 40]);
  expect(groups).toEqual([[1], [2, 3, 4]]);
});

test('no group is larger than allowed, and no request is lost or done twice', async () => {
  const { groups, run } = aStep();
  const commit = createGroupCommit({ itemsMax: 7, lanes: 2, run, isItemError: always });
  const items = Array.from({ length: 100 }, (_, n) => n);
  expect(await Promise.all(items.map((item) => commit(item)))).toEqual(items.map((item) => item * 10));
  expect(Math.max(...groups.map((group) => group.length))).toBe(7);
  expect(groups.flat().sort((a, b) => a - b)).toEqual(items);
});

test('no more statements run side by side than there are lanes', async () => {
  let running = 0;
  let most = 0;
  const run = async (items: readonly number[]): Promise<readonly number[]> => {
    most = Math.max(most, (running += 1));
    await sleep(2);
    running -= 1;
    return items;
  };
  const commit = createGroupCommit({ itemsMax: 1, lanes: 3, run, isItemError: always });
  await Promise.all(Array.from({ length: 30 }, (_, n) => commit(n)));
  expect(most).toBe(3);
});

test('a poisoned request fails alone; its neighbours are done one by one', async () => {
  const { groups, run } = aStep((group) => (group.includes(3) ? new Error('three') : null));
  const commit = createGroupCommit({ itemsMax: 100, lanes: 1, run, isItemError: always });
  const results = await Promise.allSettled([1, 2, 3, 4].map((item) => commit(item)));
  expect(results.map((result) => (result.status === 'fulfilled' ? result.value : (result.reason as Error).message)))
    .toEqual([10, 20, 'three', 40]);
  expect(groups).toEqual([[1, 2, 3, 4], [1], [2], [3], [4]]);
});

test('a request that has to wait holds up neither its neighbours nor the groups behind it', async () => {
  const slow: number[] = [];
  const run = async (group: readonly number[]): Promise<readonly number[]> => {
    if (!group.includes(3)) return group;
    await sleep(group.length > 1 ? 5 : 300);
    slow.push(...group);
    throw new Error('somebody has locked 3');
  };
  const commit = createGroupCommit({ itemsMax: 100, lanes: 1, run, isItemError: always });
  const locked = commit(3).catch((error: Error) => error.message);
  await Promise.all([1, 2, 4].map((item) => commit(item)));
  expect(await Promise.all([5, 6, 7].map((item) => commit(item)))).toEqual([5, 6, 7]);
  const again = Array.from({ length: 6 }, () => commit(3, true).catch((error: Error) => error.message));
  expect(await commit(8)).toBe(8);
  expect(slow).toEqual([3, 1, 2, 4].filter((item) => slow.includes(item)));
  expect(new Set(await Promise.all([locked, ...again]))).toEqual(new Set(['somebody has locked 3']));
});

test('where order counts, the requests of a failed group keep it', async () => {
  const { groups, run } = aStep((group) => (group.length > 1 ? new Error('a group') : null));
  const commit = createGroupCommit({ itemsMax: 100, lanes: 1, run, isItemError: always, isOrdered: true });
  await Promise.all([1, 2, 3, 4, 5, 6, 7].map((item) => commit(item)));
  expect(groups).toEqual([[1, 2, 3, 4, 5, 6, 7], [1], [2], [3], [4], [5], [6], [7]]);
});

test('a group ends with the request that makes it too heavy', async () => {
  const { groups, run } = aStep();
  const commit = createGroupCommit({ itemsMax: 100, lanes: 1, run, isItemError: always, bytesOf: (item) => (item * GROUP_BYTES) / 4 });
  await Promise.all([1, 2, 1, 4, 5, 1, 1].map((item) => commit(item)));
  expect(groups).toEqual([[1, 2, 1], [4], [5], [1, 1]]);
});

test('an unreachable database fails the whole group, and nothing is tried one by one', async () => {
  const { groups, run } = aStep(() => new Error('unavailable'));
  const commit = createGroupCommit({ itemsMax: 100, lanes: 1, run, isItemError: () => false });
  const results = await Promise.allSettled([1, 2, 3].map((item) => commit(item)));
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  expect(groups).toEqual([[1, 2, 3]]);
});

test('after a failure the next group goes on as if nothing had happened', async () => {
  let broken = true;
  const { run } = aStep(() => (broken ? new Error('away') : null));
  const commit = createGroupCommit({ itemsMax: 100, lanes: 1, run, isItemError: () => false });
  await expect(commit(1)).rejects.toThrow('away');
  broken = false;
  expect(await commit(2)).toBe(20);
});
