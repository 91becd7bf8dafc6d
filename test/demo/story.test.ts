import { createStory, StoryEnded } from '../../demo/story.ts';
import { table } from '../../demo/table.ts';

function aStory() {
  let text = '';
  const story = createStory({ write: (part) => { text += part; }, terminal: false });
  return { story, printed: () => text };
}

describe('the story of the demo', () => {
  test('numbers its steps and is right when every check was', async () => {
    const { story, printed } = aStory();
    await story.tell('Buy',
      async (step) => { step.money('0.02 goes to Word House.'); step.check('paid once', true); step.figure('paid', '0.02'); });
    await story.tell('Look', async (step) => { step.check('books balance', true); });
    expect(story.ok).toBe(true);
    expect(story.steps.map((step) => [step.number, step.title, step.ok])).toEqual([[1, 'Buy', true], [2, 'Look', true]]);
    expect(story.steps[0]?.figures).toEqual({ paid: '0.02' });
    expect(printed()).toContain('  1. Buy\n     $ 0.02 goes to Word House.\n     ✓ paid once\n');
  });

  test('goes on after a check that was not true, and is not right any more', async () => {
    const { story, printed } = aStory();
    await story.tell('Buy', async (step) => { step.check('paid once', false, { paid: 2 }); });
    await story.tell('Look', async () => {});
    expect(story.ok).toBe(false);
    expect(story.steps.map((step) => step.ok)).toEqual([false, true]);
    expect(printed()).toContain('NOT TRUE: paid once (found: {"paid":2})');
  });

  test('goes on after a step that threw, but not when the step was essential', async () => {
    const { story } = aStory();
    await story.tell('Buy', async () => { throw new Error('no connection'); });
    expect(story.steps[0]).toMatchObject({ ok: false, error: 'no connection' });
    await expect(story.tell('Start', async () => { throw new Error('no disk'); }, { essential: true })).rejects.toThrow(StoryEnded);
  });

  test('is not right when nothing was told', () => {
    expect(aStory().story.ok).toBe(false);
  });

  test('shows that it lives when something takes more than two seconds', async () => {
    const { story, printed } = aStory();
    await story.tell('Wait', async (step) => {
      await step.wait('the seller works', new Promise((resolve) => setTimeout(resolve, 2_100)));
      await step.wait('not worth a word', Promise.resolve());
    });
    expect(printed()).toContain('… the seller works (2 s)');
    expect(printed()).not.toContain('not worth a word');
  });
});

test('a table aligns its columns', () => {
  expect(table([{ title: 'Agent' }, { title: 'Balance', align: 'right' }], [['Ada', '1.50'], ['Grace', '12.00']])).toEqual([
    'Agent  Balance',
    '─────  ───────',
    'Ada       1.50',
    'Grace    12.00',
  ]);
});
