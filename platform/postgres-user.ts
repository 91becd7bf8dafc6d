/**
 * Postgres refuses to run as root. When we are root, its programs run as an ordinary user of this machine. Where that user cannot
 * pass through the directories above the data or the programs (a clone under a private home, say), it keeps one single right
 * of root's, to pass file permissions, handed over by `setpriv`.
 */
import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';

/** How to run a Postgres program: `wrap` turns its command line into the one to spawn. */
export interface PostgresUser {
  readonly uid?: number;
  readonly gid?: number;
  wrap(program: string, args: readonly string[]): { program: string; args: string[] };
  /** Gives a file or directory, with all that is in it, to this user. */
  own(target: string): void;
}

const asWeAre: PostgresUser = { wrap: (program, args) => ({ program, args: [...args] }), own: () => undefined };
const unprivileged = ['postgres', 'nobody'];

/**
 * Finds a user under which `probe --version` really runs.
 * @param data directory of the database; its present owner is kept, so that a data directory never changes hands.
 * @throws with a sentence that says what to do when root has nobody to run Postgres as.
 */
export function choosePostgresUser(probe: string, data: string): PostgresUser {
  if (process.getuid?.() !== 0) return asWeAre;
  const { uid, gid } = ownerOf(data) ?? firstUser();
  const own = (target: string): void => giveTo(target, uid, gid);
  const plain: PostgresUser = { uid, gid, wrap: (program, args) => ({ program, args: [...args] }), own };
  if (canPass(path.dirname(path.resolve(data))) && canPass(path.dirname(probe)) && runs(plain, probe)) return plain;
  // The last flag lets access() see the right as well; Postgres asks it about its own programs. All other rights end with the exec.
  const withRight: PostgresUser = {
    wrap: (program, args) => ({
      program: 'setpriv',
      args: [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--inh-caps=+dac_override', '--ambient-caps=+dac_override',
        '--securebits=+no_setuid_fixup', program, ...args],
    }),
    own,
  };
  if (runs(withRight, probe)) return withRight;
  throw new Error(
    `Postgres cannot run as root, and user ${uid} cannot reach ${path.dirname(probe)} or ${path.resolve(data)}. `
    + `Start Surety as an ordinary user, `
    + 'or move it and DATA_DIR to directories that everyone may pass through, or set DATABASE_URL to a Postgres of your own.',
  );
}

function firstUser(): { uid: number; gid: number } {
  const lines = existsSync('/etc/passwd') ? readFileSync('/etc/passwd', 'utf8').split('\n').map((line) => line.split(':')) : [];
  for (const name of unprivileged) {
    const line = lines.find(([user]) => user === name);
    if (line !== undefined) return { uid: Number(line[2]), gid: Number(line[3]) };
  }
  throw new Error('Postgres cannot run as root and this machine has no user `postgres` or `nobody`. '
    + 'Start Surety as an ordinary user, or set DATABASE_URL.');
}

/** Who the data belongs to since it was made; undefined when it is new or root's. */
function ownerOf(data: string): { uid: number; gid: number } | undefined {
  if (!existsSync(data)) return undefined;
  const { uid, gid } = statSync(data);
  return uid === 0 ? undefined : { uid, gid };
}

/** Whether everyone may pass through this directory and all above it. */
function canPass(dir: string): boolean {
  let current = realpathSync(dir);
  for (;;) {
    if ((statSync(current).mode & 0o001) === 0) return false;
    const above = path.dirname(current);
    if (above === current) return true;
    current = above;
  }
}

function runs(user: PostgresUser, probe: string): boolean {
  const { program, args } = user.wrap(probe, ['--version']);
  return spawnSync(program, args, { uid: user.uid, gid: user.gid, stdio: 'ignore', cwd: '/' }).status === 0;
}

function giveTo(target: string, uid: number, gid: number): void {
  const now = statSync(target);
  if (now.uid !== uid || now.gid !== gid) chownSync(target, uid, gid);
  else if (now.isDirectory()) return; // Given before, and everything in it was made by its owner.
  if (now.isDirectory()) for (const name of readdirSync(target)) giveTo(path.join(target, name), uid, gid);
}
