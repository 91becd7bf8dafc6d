/** Steps in which everything goes well: agents buy work from each other. */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { buy, notePurchase, openSession, player, type Play } from '../play.ts';
import type { Story } from '../story.ts';

/** A file of this repository: the demo's sellers work on real input. */
export function repositoryFile(path: string): Promise<string> {
  return readFile(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');
}

const TEXT_FILE = 'README.md';
const SOURCE_FILE = 'domain/money.ts';

export async function tellBuying(story: Story, play: Play): Promise<void> {
  await story.tell(`Atlas buys word statistics of ${TEXT_FILE}`, async (step) => {
    const atlas = player(play, 'atlas');
    const session = await openSession(play, step, atlas, { maxTotal: '2.00', strategy: 'cheapest' });
    const answer = await buy(play, session, { serviceType: 'word-statistics', params: { text: await repositoryFile(TEXT_FILE) } });
    const { output } = answer.response;
    step.say(`${answer.serviceName}: ${output.words} words, ${output.readingMinutes} minutes to read; most used: `
      + `${output.topWords.slice(0, 4).map((item: { word: string }) => item.word).join(', ')}.`);
    notePurchase(play, step, atlas, answer);
    step.figure('words', output.words);
    step.check('The seller did real work on the text', output.words > 100 && output.distinctWords > 50, output);
    step.check('Atlas paid the price of Word House, 0.02', answer.amountPaid === '0.020000', answer.amountPaid);
  });

  await story.tell(`Nova has ${SOURCE_FILE} measured and the result drawn as a chart`, async (step) => {
    const nova = player(play, 'nova');
    const session = await openSession(play, step, nova,
      { maxTotal: '1.00', strategy: 'best_value', allowedTypes: ['code-metrics', 'chart'] });
    const measured = await buy(play, session,
      { serviceType: 'code-metrics', params: { source: await repositoryFile(SOURCE_FILE), fileName: SOURCE_FILE } });
    const metrics = measured.response.output as { lines: number; functions: { name: string; lines: number }[];
      longestFunction: { name: string; lines: number } };
    step.say(`${measured.serviceName}: ${metrics.lines} lines, ${metrics.functions.length} functions; the longest is `
      + `${metrics.longestFunction.name} with ${metrics.longestFunction.lines} lines.`);
    notePurchase(play, step, nova, measured);
    const points = metrics.functions.map(({ name, lines }) => ({ label: name, value: lines }));
    const drawn = await buy(play, session, { serviceType: 'chart', params: { title: `Lines of each function in ${SOURCE_FILE}`, points } });
    const file = play.house.file('chart.svg');
    await writeFile(file, drawn.response.output.svg as string);
    step.say(`${drawn.serviceName}: an SVG with ${drawn.response.output.bars} bars. Look at it: ${play.house.shortPath(file)}`);
    notePurchase(play, step, nova, drawn);
    step.figure('functions', metrics.functions.length);
    step.check('The chart has a bar for each function that was found', drawn.response.output.bars === metrics.functions.length
      && metrics.functions.length > 5);
    step.check('Both purchases came out of one budget: 0.09 spent, 0.91 left', drawn.totalSpent === '0.090000'
      && drawn.remaining === '0.910000', [drawn.totalSpent, drawn.remaining]);
  });

  await story.tell('Pico buys a single call, without opening a session', async (step) => {
    const pico = player(play, 'pico');
    const answer = await play.wire.must('POST', '/v1/gateway/call', {
      apiKey: pico.apiKey,
      body: { serviceType: 'word-statistics', maxPrice: '0.05', params: { text: await repositoryFile('package.json') } },
    });
    step.say(`Pico is willing to pay up to 0.05. ${answer.serviceName} finds ${answer.response.output.distinctWords} different words in `
      + `package.json.`);
    notePurchase(play, step, pico, answer);
    step.check('Pico paid the price, 0.02, and not the 0.05 it would have paid', answer.amountPaid === '0.020000', answer.amountPaid);
  });
}
