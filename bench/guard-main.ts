/** The regression guard on the command line: `node --import tsx bench/guard-main.ts`; ends with 0 when it passed. */
import { loadDotEnv } from '../platform/dotenv.ts';
import { judge, runGuard } from './guard.ts';
import { reportLines } from './report.ts';

loadDotEnv();
const report = await runGuard((sentence) => console.log(sentence));
const { passed, complaints } = judge(report);
console.log(['', ...reportLines(report), '', ...complaints, passed ? 'The guard passed.' : 'The guard did NOT pass.'].join('\n'));
process.exit(passed ? 0 : 1);
