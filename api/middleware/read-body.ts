/** Reads a JSON request body: at most 1 MiB, UTF-8, not nested deeper than anybody needs. Empty bodies are `{}`. */
import type { IncomingMessage } from 'node:http';
import { SuretyError } from '../../domain/errors.ts';

export const BODY_BYTES_MAX = 1024 * 1024;
/** JSON.stringify and other recursive code run out of stack near ten thousand. */
const DEPTH_MAX = 64;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Thrown when the client hung up before the body was complete; there is nobody to answer. */
export class ClientGone extends Error {}

/**
 * The parsed body. An empty one counts as `{}` whatever its Content-Type says, because clients send "application/json" with
 * nothing behind it.
 * @throws SuretyError `payload_too_large`, `unsupported_media_type`, `invalid_request`. @throws ClientGone.
 */
export async function readJsonBody(req: IncomingMessage): Promise<unknown> {
  const bytes = await readBytes(req);
  if (bytes.length === 0) return {};
  checkType(req);
  const value = parse(bytes);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SuretyError('invalid_request', 'The body must be a JSON object.');
  }
  if (!withinDepth(value, DEPTH_MAX)) throw new SuretyError('invalid_request', `The body is nested deeper than ${DEPTH_MAX} levels.`);
  return value;
}

function checkType(req: IncomingMessage): void {
  const encoding = req.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') throw new SuretyError('unsupported_media_type',
    'Compressed bodies are not accepted.');
  const type = req.headers['content-type'];
  if (type === undefined || type === 'application/json') return;
  const [essence = '', ...parameters] = type.toLowerCase().split(';').map((part) => part.trim());
  if (!/^(?:application\/json|[a-z0-9.+/-]+\+json)$/.test(essence)) {
    throw new SuretyError('unsupported_media_type', 'The body must be JSON.');
  }
  const charset = parameters.find((parameter) => parameter.startsWith('charset='))?.slice(8).replaceAll('"', '');
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8') throw new SuretyError('unsupported_media_type',
    'The body must be encoded as UTF-8.');
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch (cause) {
    throw new SuretyError('invalid_request', 'The body is not valid JSON.', { cause });
  }
}

/** Also visits keys such as `__proto__`, which JSON.parse makes plain properties. */
function withinDepth(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (levels === 0) return false;
  for (const inner of Object.values(value)) {
    if (!withinDepth(inner, levels - 1)) return false;
  }
  return true;
}

function tooLarge(): SuretyError {
  return new SuretyError('payload_too_large', 'The body is larger than 1 MiB.');
}

function readBytes(req: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (Number(req.headers['content-length'] ?? 0) > BODY_BYTES_MAX) {
      discard();
      reject(tooLarge());
      return;
    }
    const chunks: Buffer[] = [];
    let length = 0;
    const { socket } = req;
    req.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
    // Once the request was answered (its time was up), Node no longer tells it that its connection closed.
    socket.on('close', onGone);

    function onData(chunk: Buffer): void {
      length += chunk.length;
      if (length > BODY_BYTES_MAX) {
        settle();
        discard();
        reject(tooLarge());
      } else {
        chunks.push(chunk);
      }
    }
    function onEnd(): void {
      settle();
      const [only] = chunks;
      resolve(chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, length));
    }
    function onGone(): void {
      settle();
      reject(new ClientGone('The client hung up before its request was complete.'));
    }
    function settle(): void {
      req.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
      socket.off('close', onGone);
      req.on('error', ignore);
    }
    /** The rest is read and thrown away: a closed door would reset the connection before the client could read why. */
    function discard(): void {
      req.on('error', ignore);
      req.resume();
    }
  });
}

function ignore(): void {
  // The answer is decided; how the connection ends no longer matters.
}
