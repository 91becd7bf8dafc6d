/** The promise behind accepted calls is sent soon, whatever one of them waits for. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createCallPromises } from '../../payments/gateway/promise.ts';
import { createLog } from '../../platform/log.ts';

type Started = readonly [run: string, callIds: readonly string[]];

function aPromise(failures = 0) {
  const started: Started[] = [];
  let left = failures;
  const promises = createCallPromises({
    log: createLog('silent', 'test'), newWorkflowId: () => `w${started.length}`, stillOpen: (ids) => [...ids],
    start: async (workflowId, callIds, run) => {
      if (run === 'again' && left-- > 0) throw new Error('The first run has not ended yet.');
      started.push([`${workflowId} ${run}`, callIds]);
      return Promise.resolve();
    },
  });
  return { promises, started };
}

test('calls that are accepted in time travel together', async () => {
  const { promises, started } = aPromise();
  for (const place of ['a', 'b', 'c'].map((id) => promises.join(id))) place.confirm(true);
  await promises.flush(1_000);
  expect(started).toEqual([['w0 first', ['a', 'b', 'c']]]);
});

test('a call that waits for a lock keeps no other waiting, and is promised when it is accepted', async () => {
  const { promises, started } = aPromise(1);
  const [quick, blocked, refused] = ['quick', 'blocked', 'refused'].map((id) => promises.join(id));
  quick?.confirm(true);
  await sleep(600);
  expect(started).toEqual([['w0 first', ['quick']]]);
  blocked?.confirm(true);
  refused?.confirm(false);
  // The first run has not ended when it is tried, so it is tried again.
  await promises.flush(5_000);
  expect(started).toEqual([['w0 first', ['quick']], ['w0 again', ['blocked']]]);
});
