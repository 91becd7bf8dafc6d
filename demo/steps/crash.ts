/** The step the platform exists for: its process is killed in the middle of a paid call, and the call is finished all the same. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { coins } from '../money-words.ts';
import { balanceOf, buy, jobsAt, notePurchase, openSession, player, type CallWish, type Play, type Session } from '../play.ts';
import type { Step, Story } from '../story.ts';
import { WireError, type Json } from '../wire.ts';
import { repositoryFile } from './buying.ts';

/** Enough for the dead process's lease to run out and for somebody else to take the call over, several times. */
const FINISH_MAX_MS = 120_000;

export function tellCrash(story: Story, play: Play): Promise<void> {
  return story.tell('The platform is killed in the middle of a call (SIGKILL), and the call is finished', async (step) => {
    const nova = player(play, 'nova');
    const press = player(play, 'slowPress');
    const pressBefore = await balanceOf(play, press);
    const session = await openSession(play, step, nova, { maxTotal: '0.50' });
    const wish: CallWish = { serviceType: 'thorough-reading', params: { text: await repositoryFile('README.md') },
      idempotencyKey: `demo-${randomUUID()}` };
    step.say('Nova orders a thorough reading (0.10) of Slow Press, who takes four seconds for it.');
    await killDuring(play, step, session, wish);

    step.say('Nothing runs now that could finish the call; the truth is in Postgres, the promise in Temporal. A new process is started, '
      + 'as an operator\'s machine would do.');
    await step.wait('the new process starts', play.house.startNode());
    const between = await balanceOf(play, nova);
    step.money(`In its open sessions, Nova still has ${coins(between.heldMicros)} set aside: not lost, and not paid to anybody yet.`);

    step.say('Nova does not know what became of its call, and simply asks again with the same Idempotency-Key.');
    const answer = await step.wait('the interrupted call is finished', askUntilAnswered(play, session, wish));
    notePurchase(play, step, nova, answer);
    if (typeof answer.workflowId === 'string'
      && play.house.temporalUiUrl !== undefined) step.say(`Its durable workflow: ${play.house.workflowUrl(answer.workflowId)}`);
    await checkOnce(play, step,
      { session, answer, earnedMicros: (await balanceOf(play, press)).availableMicros - pressBefore.availableMicros });
  });
}

/** Sends the request, waits until the seller is at work, and kills the platform's process. */
async function killDuring(play: Play, step: Step, session: Session, wish: CallWish): Promise<void> {
  const outcome = buy(play, session, wish).then(() => 'answered' as const, () => 'broken' as const);
  await step.wait('the seller begins', untilAtWork(play, outcome));
  const { pid } = play.house.node();
  await play.house.node().kill();
  step.say(`While the seller works, process ${pid} (the API and its worker) is killed with SIGKILL.`);
  step.check('The buyer\'s connection broke without an answer', (await outcome) === 'broken');
}

async function untilAtWork(play: Play, outcome: Promise<string>): Promise<void> {
  let early: string | undefined;
  void outcome.then((how) => { early = how; });
  while (!(await jobsAt(play, '/slow-press')).some((job) => job.worked === 0)) {
    if (early !== undefined) throw new Error(`The call was ${early} before the seller began.`);
    await sleep(50);
  }
}

/** Asks again as a patient client does: as long as the platform says that the call goes on, or does not answer at all. */
async function askUntilAnswered(play: Play, session: Session, wish: CallWish): Promise<Json> {
  const until = Date.now() + FINISH_MAX_MS;
  for (;;) {
    try {
      return await buy(play, session, wish);
    } catch (error) {
      const mayAskAgain = !(error instanceof WireError) || [409, 429, 503, 504].includes(error.reply.status);
      if (!mayAskAgain || Date.now() > until) throw error;
      await sleep(1_000);
    }
  }
}

async function checkOnce(play: Play, step: Step,
    { session, answer, earnedMicros }: { session: Session; answer: Json; earnedMicros: bigint }): Promise<void> {
  const jobs = await jobsAt(play, '/slow-press');
  const asked = jobs.reduce((sum, job) => sum + job.requests, 0);
  const worked = jobs.reduce((sum, job) => sum + job.worked, 0);
  const { session: state } = await play.wire.must('GET', `/v1/gateway/sessions/${session.token}`, { apiKey: session.owner.apiKey });
  step.say(`Slow Press was asked ${asked === 1 ? 'once' : `${asked} times`} with one and the same key, and worked `
    + `${worked === 1 ? 'once' : `${worked} times`}.`);
  step.figure('asked', asked);
  step.figure('worked', worked);
  step.check('The result came although the process that was asked is dead', answer.response.output.words > 0);
  step.check('The seller worked once', worked === 1, { asked, worked });
  step.check('Nova was charged once', state.totalSpent === '0.100000' && state.requestCount === 1,
    { totalSpent: state.totalSpent, requestCount: state.requestCount });
  step.check('Slow Press was paid once', coins(earnedMicros) === '0.10', coins(earnedMicros));
}
