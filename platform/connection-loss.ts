/**
 * Distinguishes "the database is not there" from "the database refused". The first is nobody's fault in the request: it becomes
 * `unavailable` (503), and whoever asked may ask again. Here is also what an error means for the connection it came over.
 */

/** Node's codes for a connection that could not be made: the statement was never sent. */
const neverSent = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOENT', 'P1001', 'P1002', 'P2024']);
/** Codes of a connection that ended under way, of Node and of Prisma: the statement may have been carried out. */
const perhapsSent = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'P1008', 'P1017', 'P2028']);
/** SQLSTATEs by which Postgres itself says "not now": nothing was changed. */
const refusedForNow = /^(?:57P03|53[0-9]{3}|40001|40P01|55P03|57014|25P03)$/;
/** Of these, the trouble of one statement: a deadlock, a wait that was too long, a statement that took too long. The database is there. */
const troubleOfStatement = /^(?:40001|40P01|55P03|57014)$/;
/** SQLSTATEs of a server that ends the connection: the answer to a COMMIT may be lost. */
const cutOff = /^(?:08[0-9A-Z]{3}|57P01|57P02|57P05)$/;

/**
 * What happened to a statement whose error this is: `not_done` (nothing changed), `unknown` (the connection ended before the
 * answer), or null when the error is not about the connection at all.
 */
export function connectionLoss(error: unknown): 'not_done' | 'unknown' | null {
  if (!(error instanceof Error)) return null;
  const code = String((error as { code?: unknown }).code ?? '');
  if (neverSent.has(code) || refusedForNow.test(code)) return 'not_done';
  if (perhapsSent.has(code) || cutOff.test(code)) return 'unknown';
  // These errors of `pg` carry no code.
  if (/timeout exceeded when trying to connect|after calling end on the pool|due to connection timeout/.test(
    error.message)) return 'not_done';
  if (/Connection terminated|Client has encountered a connection error|Query read timeout|Connection ended/.test(
    error.message)) return 'unknown';
  return connectionLoss(innerOf(error));
}

/** The error that this one wraps: of the driver inside Prisma's, of the first address where several were tried. */
function innerOf(error: Error): Error | null {
  const { meta } = error as { meta?: { readonly driverAdapterError?: unknown } };
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : (meta?.driverAdapterError ?? error.cause);
  if (inner === undefined || inner === error) return null;
  return inner instanceof Error ? inner : ofDriverAdapter(inner);
}

/** Did this statement run into its time limit? The answer to a smaller question may come in time. */
export function ranOutOfTime(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (error as { code?: unknown }).code === '57014' || ranOutOfTime(innerOf(error));
}

/** Did only this statement fail, because of what others were doing at the moment, while the database is there for everybody else? */
export function isStatementTrouble(error: unknown): boolean {
  return error instanceof Error && troubleOfStatement.test(String((error as { code?: unknown }).code ?? ''));
}

/**
 * Must the connection that this error came over be closed? Not when Postgres itself has answered and goes on listening: a refusal, a broken
 * constraint, a deadlock.
 */
export function spoilsConnection(error: unknown): boolean {
  if (!(error instanceof Error)) return true;
  const { code, severity } = error as { code?: unknown; severity?: unknown };
  // Only answers of the server have a severity; the codes of Node look like SQLSTATEs (EPIPE).
  if (typeof code !== 'string' || typeof severity !== 'string') return true;
  // 25P03: a transaction was idle for too long. Postgres has ended the session with it.
  if (cutOff.test(code) || code === '25P03') return true;
  // A prepared statement whose table has changed fails on this connection for ever, and works on a new one.
  return code === '0A000' && error.message.includes('cached plan');
}

/** Prisma's adapter throws an error whose `cause` is a plain description of what the driver said. */
function ofDriverAdapter(cause: unknown): Error | null {
  if (typeof cause !== 'object' || cause === null) return null;
  const { kind, code, originalCode, originalMessage } = cause as Readonly<Record<string, unknown>>;
  const known = typeof kind === 'string' ? adapterKinds[kind] : undefined;
  return Object.assign(new Error(typeof originalMessage === 'string' ? originalMessage : ''), { code: known ?? originalCode ?? code });
}

/** Names of the adapter for what other parts know by a code. */
const adapterKinds: Readonly<Record<string, string>> = { DatabaseNotReachable: 'P1001', ConnectionClosed: 'P1017', SocketTimeout: 'P1008',
  TooManyConnections: '53300' };
