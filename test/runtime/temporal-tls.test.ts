/** A Temporal behind TLS, with certificates made here: what is accepted, what is refused, and that secrets stay secret. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { OutgoingHttpHeaders } from 'node:http';
import { connect as connectHttp2, createSecureServer, type Http2SecureServer } from 'node:http2';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createServer, type Server, type TlsOptions } from 'node:tls';
import { readEnv } from '../../platform/env.ts';
import { ask, connectWorker } from '../../temporal/connection.ts';
import { readTemporalSecurity, type RenewableSecurity } from '../../temporal/security.ts';
import { createTestDatabase } from '../support/database.ts';
import { eventually } from '../support/platform-suite.ts';
import { startProgram } from '../support/programs.ts';
import { testServers } from '../support/servers.ts';

const dir = mkdtempSync(path.join(tmpdir(), 'surety-tls-'));
const file = (name: string): string => path.join(dir, name);
const API_KEY = 'temporal-key-that-nobody-may-see';
const listeners: (Server | Http2SecureServer)[] = [];
/** Connections that a client did not end itself would keep this process alive. */
const sockets = new Set<Socket>();

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
}

/** An authority of our own, a server's and a client's certificate by it, and an authority that nobody knows. */
beforeAll(() => {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  for (const ca of ['ca', 'foreign']) openssl('req', '-x509', ...key, '-keyout', `${ca}.key`, '-out', `${ca}.pem`, '-days',
    '2', '-subj', `/CN=${ca}`);
  writeFileSync(file('names'), 'subjectAltName=DNS:localhost');
  for (const name of ['server', 'client']) {
    openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    openssl('x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile',
      'names', '-out', `${name}.pem`);
  }
  writeFileSync(file('words'), 'these are words');
});

afterAll(() => {
  for (const listener of listeners) listener.close();
  for (const socket of sockets) socket.destroy();
  rmSync(dir, { recursive: true, force: true });
});

const pem = (name: string): Buffer => readFileSync(file(name));

/** The suite's Temporal behind TLS. @returns its address. */
async function behindTls(options: TlsOptions = {}): Promise<string> {
  const [host = '', port = ''] = testServers().temporalAddress.split(':');
  const server = createServer({ key: pem('server.key'), cert: pem('server.pem'), ALPNProtocols: ['h2'], ...options }, (socket) => {
    const upstream = connect(Number(port), host);
    socket.pipe(upstream).pipe(socket);
    for (const end of [socket, upstream]) end.on('error', () => undefined)
      .on('close', () => [socket, upstream].forEach((other) => other.destroy()));
  });
  server.on('tlsClientError', () => undefined);
  server.on('connection', (socket: Socket) => sockets.add(socket));
  listeners.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `localhost:${(server.address() as AddressInfo).port}`;
}

const securityOf = (address: string, settings: Record<string, string>): Promise<RenewableSecurity> =>
  readTemporalSecurity(readEnv({ TEMPORAL_ADDRESS: address, ...settings }));

/** Both of the SDK's kinds of connection. */
async function reaches(address: string, settings: Record<string, string>): Promise<boolean> {
  const target = { address, namespace: 'default', security: await securityOf(address, settings) };
  const asked = await ask(target).then(() => true, () => false);
  const worker = await connectWorker(target).then(async (connected) => {
    await connected.client.workflow.count('');
    await connected.close();
    return true;
  }).catch(() => false);
  expect(worker).toBe(asked);
  return asked;
}

test('a server is reached with the certificate that vouches for it, and neither plainly nor with that of somebody else', async () => {
  const address = await behindTls();
  expect(await reaches(address, { TEMPORAL_TLS_CA_FILE: file('ca.pem') })).toBe(true);
  expect(await reaches(address, { TEMPORAL_TLS_CA_FILE: file('foreign.pem') })).toBe(false);
  expect(await reaches(address, { TEMPORAL_TLS: 'true' })).toBe(false);
  expect(await reaches(address, {})).toBe(false);
}, 60_000);

test('a server that asks who comes lets in those with a certificate, and nobody else', async () => {
  const address = await behindTls({ requestCert: true, rejectUnauthorized: true, ca: pem('ca.pem') });
  const known = { TEMPORAL_TLS_CA_FILE: file('ca.pem') };
  expect(await reaches(address, { ...known, TEMPORAL_TLS_CERT_FILE: file('client.pem'), TEMPORAL_TLS_KEY_FILE: file('client.key') }))
    .toBe(true);
  expect(await reaches(address, { ...known, TEMPORAL_TLS_CERT_FILE: file('foreign.pem'), TEMPORAL_TLS_KEY_FILE: file('foreign.key') }))
    .toBe(false);
  expect(await reaches(address, known)).toBe(false);
}, 60_000);

test('an API key goes with every request, as Temporal Cloud wants it', async () => {
  const seen: (string | undefined)[] = [];
  const server = createSecureServer({ key: pem('server.key'), cert: pem('server.pem') });
  server.on('stream', (stream, headers) => {
    seen.push(headers.authorization);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '16', 'grpc-message': 'not this key' },
      { endStream: true });
  });
  server.on('connection', (socket: Socket) => sockets.add(socket));
  listeners.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `localhost:${(server.address() as AddressInfo).port}`;
  const security = await securityOf(address, { TEMPORAL_API_KEY: API_KEY, TEMPORAL_TLS_CA_FILE: file('ca.pem') });
  const refused = await ask({ address, namespace: 'default', security }).catch((error: unknown) => error);
  expect(String(refused)).not.toContain(API_KEY);
  await expect(connectWorker({ address, namespace: 'default', security })).rejects.toThrow();
  expect(new Set(seen)).toEqual(new Set([`Bearer ${API_KEY}`]));
}, 60_000);

/** The suite's Temporal behind a proxy that reads what each request carries. */
async function behindReader(seen: (string | undefined)[]): Promise<string> {
  const server = createSecureServer({ key: pem('server.key'), cert: pem('server.pem') });
  const upstream = connectHttp2(`http://${testServers().temporalAddress}`);
  upstream.once('connect', (_session, socket) => sockets.add(socket as Socket));
  server.on('stream', (stream, { authorization, ':authority': _authority, ':scheme': _scheme, ...headers }) => {
    seen.push(authorization);
    const request = upstream.request(headers);
    request.on('response', (answer) => stream.respond(answer, { waitForTrailers: true }));
    const trailers = new Promise<OutgoingHttpHeaders>((resolve) => request.once('trailers', resolve));
    stream.on('wantTrailers', () => void trailers.then((all) => stream.sendTrailers(all)));
    for (const end of [stream, request]) end.on('error', () => undefined);
    stream.once('close', () => request.close());
    stream.pipe(request).pipe(stream);
  });
  server.on('connection', (socket: Socket) => sockets.add(socket));
  listeners.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `localhost:${(server.address() as AddressInfo).port}`;
}

test('an API key is read anew from its file, and everything that is asked from then on carries the new one', async () => {
  const seen: (string | undefined)[] = [];
  const address = await behindReader(seen);
  writeFileSync(file('api-key'), `${API_KEY}\n`);
  const security = await securityOf(address, { TEMPORAL_API_KEY_FILE: file('api-key'), TEMPORAL_TLS_CA_FILE: file('ca.pem') });
  const target = { address, namespace: 'default', security };
  const connected = await connectWorker(target, { renewEveryMs: 100 });
  await connected.client.workflow.count('');
  expect(new Set(seen)).toEqual(new Set([`Bearer ${API_KEY}`]));

  writeFileSync(file('api-key'), 'the-next-key\n');
  await eventually(async () => {
    await connected.client.workflow.count('');
    expect(seen.at(-1)).toBe('Bearer the-next-key');
  });
  await ask(target);
  expect(seen.at(-1)).toBe('Bearer the-next-key');

  // Half of a rotation: the file is away for a moment.
  rmSync(file('api-key'));
  await new Promise((resolve) => setTimeout(resolve, 300));
  await connected.client.workflow.count('');
  expect(seen.at(-1)).toBe('Bearer the-next-key');
  await connected.close();
}, 60_000);

test.each([
  ['nothing', {}, {}], ['TLS asked for', { TEMPORAL_TLS: 'true' }, { tls: {} }],
  ['an API key', { TEMPORAL_API_KEY: API_KEY }, { tls: {}, apiKey: API_KEY }], ['TLS off', { TEMPORAL_TLS: 'false' }, {}],
])('%s makes the right options', async (_what, settings,
options) => expect(await securityOf('cloud.example:7233', settings)).toEqual(options));

test.each<[what: string, settings: Record<string, string>, sentence: RegExp]>([
  ['a file that is not there', { TEMPORAL_TLS_CA_FILE: 'no-such.pem' },
    /^TEMPORAL_TLS_CA_FILE: \S*no-such\.pem cannot be read \(ENOENT\)\.$/],
  ['an API key file that is not there', { TEMPORAL_API_KEY_FILE: 'no-such.key' },
    /^TEMPORAL_API_KEY_FILE: \S*no-such\.key cannot be read \(ENOENT\)\.$/],
  ['a file of words instead of an API key', { TEMPORAL_API_KEY_FILE: 'words' },
    /^TEMPORAL_API_KEY_FILE: \S*words does not hold one word\.$/],
  ['a file with words', { TEMPORAL_TLS_CA_FILE: 'words' }, /^TEMPORAL_TLS_CA_FILE: \S*words is not a certificate in PEM form\.$/],
  ['a key where a certificate belongs', { TEMPORAL_TLS_CERT_FILE: 'client.key', TEMPORAL_TLS_KEY_FILE: 'client.key' },
    /^TEMPORAL_TLS_CERT_FILE: \S+ is not a certificate/],
  ['a certificate where a key belongs', { TEMPORAL_TLS_CERT_FILE: 'client.pem', TEMPORAL_TLS_KEY_FILE: 'client.pem' },
    /^TEMPORAL_TLS_KEY_FILE: \S+ is not a private key/],
  ['the key of another certificate', { TEMPORAL_TLS_CERT_FILE: 'client.pem', TEMPORAL_TLS_KEY_FILE: 'server.key' },
    /^TEMPORAL_TLS_KEY_FILE: \S+ is not the key of the certificate/],
])('%s is named in a sentence', async (_what, settings, sentence) => {
  const files = Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, file(value)]));
  const error = await securityOf('cloud.example:7233', files).catch((failed: Error) => failed.message);
  expect(error).toMatch(sentence);
  expect(error).not.toContain('these are words');
});

test.each<[what: string, settings: Record<string, string>, named: string]>([
  ['an API key for the embedded server', { TEMPORAL_API_KEY: API_KEY }, 'TEMPORAL_API_KEY: only for a server named in TEMPORAL_ADDRESS'],
  ['an API key in the clear', { TEMPORAL_ADDRESS: 'a:1', TEMPORAL_API_KEY: API_KEY, TEMPORAL_TLS: 'false' },
    'TEMPORAL_TLS: must not be off together with TEMPORAL_API_KEY'],
  ['a certificate without its key', { TEMPORAL_ADDRESS: 'a:1', TEMPORAL_TLS_CERT_FILE: 'x' },
    'TEMPORAL_TLS_CERT_FILE, TEMPORAL_TLS_KEY_FILE: need each other'],
  ['an API key of two lines', { TEMPORAL_ADDRESS: 'a:1', TEMPORAL_API_KEY: `${API_KEY}\nx` }, 'TEMPORAL_API_KEY: must be one word'],
])('%s stops the start, and the secret is not told', (_what, settings, named) => {
  expect(() => readEnv(settings)).toThrow(named);
  expect(() => readEnv(settings)).not.toThrow(API_KEY);
});

test('a worker serves its queues over TLS, and its log holds no key', async () => {
  const db = await createTestDatabase();
  const worker = startProgram('workers/main.ts', {
    DATA_DIR: dir, DATABASE_URL: db.url, TEMPORAL_ADDRESS: await behindTls(), TEMPORAL_TLS_CA_FILE: file('ca.pem'),
    TEMPORAL_API_KEY: API_KEY, LOG_LEVEL: 'trace', WORKER_QUEUES: 'stream',
  });
  try {
    await worker.prints(/Surety worker is ready {2}queues: stream/, 60_000);
    worker.send('SIGTERM');
    expect(await worker.ended).toBe(0);
    expect(worker.output()).not.toContain(API_KEY);
    expect(worker.output()).not.toContain(pem('client.key').toString().slice(30, 60));
  } finally {
    worker.send('SIGKILL');
    await worker.ended;
    await db.close();
  }
}, 90_000);
