/** The last steps: budgets go back, and the books are checked from three sides. */
import { change, coins } from '../money-words.ts';
import { balanceOf, type Balance, type Play } from '../play.ts';
import type { Story } from '../story.ts';
import { table } from '../table.ts';

/** A row of the closing table, for `--json` too. */
export interface BalanceRow {
  readonly name: string;
  readonly role: string;
  readonly before: string;
  readonly after: string;
  readonly change: string;
  readonly held: string;
}

export async function tellBooks(story: Story, play: Play): Promise<BalanceRow[]> {
  const rows: BalanceRow[] = [];
  await story.tell('The sessions are closed', async (step) => {
    let returned = 0;
    for (const { owner, token } of play.sessions) {
      await play.wire.must('DELETE', `/v1/gateway/sessions/${token}`, { apiKey: owner.apiKey });
      returned += 1;
    }
    step.money(`What was left of ${returned} budgets goes back to the buyers.`);
  });

  await story.tell('Balances before and after', async (step) => {
    const after = new Map<string, Balance>();
    for (const one of play.players.values()) after.set(one.address, await balanceOf(play, one));
    let sum = 0n;
    let told = true;
    for (const { name, role, address } of play.players.values()) {
      const then = play.balancesBefore.get(address)?.availableMicros ?? 0n;
      const { availableMicros: now, heldMicros: held } = after.get(address) ?? { availableMicros: 0n, heldMicros: 0n };
      sum += now - then;
      told &&= now - then === toldChange(play, address);
      rows.push({ name, role, before: coins(then), after: coins(now), change: change(now - then), held: coins(held) });
    }
    const right = 'right' as const;
    const columns = [{ title: 'Agent' }, { title: 'Role' }, { title: 'Before', align: right }, { title: 'After', align: right },
      { title: 'Change', align: right }, { title: 'Set aside', align: right }];
    for (const line of table(columns, rows.map((row) => [row.name, row.role, row.before, row.after, row.change, row.held]))) step.say(line);
    step.figure('purchases', play.purchases.length);
    step.check(`Every balance changed by exactly what the ${play.purchases.length} purchases say`, told);
    step.check('What the buyers paid is what the sellers received', sum === 0n, change(sum));
    step.check('Nothing is set aside any more', rows.every((row) => row.held === '0.00'));
  });

  await story.tell('The platform checks its books', async (step) => {
    const books = await play.wire.must('GET', '/v1/admin/reconcile', { adminSecret: play.house.adminSecret });
    const results = books.results as { match: boolean }[];
    step.say(`Every account was added up again from its postings: ${results.length} accounts.`);
    step.figure('accounts', results.length);
    step.check('Each account is what its postings add up to', results.length > 0 && results.every((one) => one.match),
      results.filter((one) => !one.match));
    step.check('Every invariant of the ledger holds: nothing paid twice, nothing lost, nothing negative, no call without its end',
      books.ok === true, books.findings);
  });
  return rows;
}

/** What the purchases, as the buyers were told of them, say about one agent. */
function toldChange(play: Play, address: string): bigint {
  return play.purchases.reduce(
    (sum, one) => sum + (one.seller === address ? one.amountMicros : 0n) - (one.buyer === address ? one.amountMicros : 0n), 0n,
  );
}
