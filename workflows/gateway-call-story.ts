/** What a person sees of a long call in Temporal's UI: a line for each thing that happens, and how it ended. */
import type { GatewayCallInput, GatewayCallResult, LongCallFact, LongCallView } from '../domain/long-call-messages.ts';
import { utcTime } from './payment-story.ts';

/** How the money went, to search by. */
export function callOutcomeOf({ state }: LongCallView): 'paid' | 'returned' {
  return state === 'settled' ? 'paid' : 'returned';
}

/** Lines for the "current details" of a run: what it is about, where it stands, and what has happened, the latest last. */
export function callDetailsOf({ buyer, asset }: GatewayCallInput, view: LongCallView, lines: readonly string[]): string {
  const { price, service, seller, state, ended, deadlineMs, reason } = view;
  const now = ended ? `**${state}**${reason === undefined ? '' : `: ${reason}`}` : `**${state}** until ${utcTime(deadlineMs)}`;
  return [`**${price} ${asset}** of \`${buyer}\` for ${service} \`${seller}\``, '', `State: ${now}`, '',
    ...lines.map((line) => `- ${line}`)]
    .join('\n');
}

/** One thing that has happened. */
export function callLine({ step, role, atMs, data }: LongCallFact, asset: string, view: LongCallView): string {
  return `${utcTime(atMs)} ${role === 'clock' ? 'the clock' : `the ${role}`} · ${wordsOf(step, data, asset, view)}`;
}

function wordsOf(step: string, data: LongCallFact['data'], asset: string, { price, seller }: LongCallView): string {
  const text = (name: string): string => (data[name] === undefined ? '' : String(data[name]));
  const why = text('reason') === '' ? '' : ` (${text('reason')})`;
  switch (step) {
    case 'accepted': return 'accepted, its price is reserved';
    case 'asked': case 'asked_again': case 'failed_over':
      return `${{ asked: 'asks', asked_again: 'asks again', failed_over: 'goes on to' }[step]} ${text('service')} \`${text('seller')}\``;
    case 'answer_lost': return `no answer (${text('outcome')}): it may be at work`;
    case 'begun': return 'has begun';
    case 'progress': return ['is at work', data['percent'] === undefined ? '' : `${text('percent')} %`, text('note')]
      .filter((part) => part !== '').join(' · ');
    case 'completed': return `completed: ${price} ${asset} paid to \`${seller}\``;
    default: return `${step.replace('_', ' ')}${why}: ${price} ${asset} given back`;
  }
}

/** How a long call ended. */
export function callResultOf(view: LongCallView): GatewayCallResult {
  const { id, version, state, service, seller, price, reason } = view;
  const nothing = '0.000000';
  const [paid, returned] = state === 'settled' ? [price, nothing] : [nothing, price];
  return { id, version, state, service, seller, paid, returned, ...(reason === undefined ? {} : { reason }) };
}
