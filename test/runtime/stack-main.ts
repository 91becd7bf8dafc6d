/** A program that runs the embedded servers and nothing else. With `--hang` it never finishes stopping by itself. */
import { readEnv } from '../../platform/env.ts';
import { runService } from '../../platform/service.ts';
import { startStack } from '../../temporal/stack.ts';

await runService((sentence) => console.log(sentence), async (service) => {
  const stack = await startStack({ env: readEnv(process.env), notice: service.say, signal: service.signal });
  service.onStop(() => stack.stop());
  if (process.argv.includes('--hang')) service.onStop(() => new Promise(() => undefined));
  console.log(`READY ${JSON.stringify({ databaseUrl: stack.databaseUrl, temporalAddress: stack.temporalAddress, pids: stack.pids() })}`);
});
