/**
 * The benchmark's sellers: one process, as many ports as sellers, an answer that is ready made. Hand-written over sockets, so that
 * the sellers take as little as possible of the processor they share with the platform.
 *
 *   node --import tsx bench/sellers-main.ts <number of sellers>
 *
 * Prints `{"ports":[…]}` when all of them listen. The parent asks for the number of deliveries with the message `count`.
 */
import { createServer, type AddressInfo, type Socket } from 'node:net';

const HEAD_END = Buffer.from('\r\n\r\n');
const body = '{"output":"done"}';
const answerWith = (status: string): Buffer => Buffer.from(
  `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: keep-alive\r\n\r\n${body}`);
const answer = answerWith('200 OK');
/** For calls that nobody waits for: somebody else completes them. */
const begun = answerWith('202 Accepted');
let deliveries = 0;

function serve(socket: Socket): void {
  let received: Buffer = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    for (;;) {
      const headEnd = received.indexOf(HEAD_END);
      if (headEnd < 0) return;
      const head = received.toString('latin1', 0, headEnd);
      const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
      if (length === undefined) { socket.destroy(); return; }
      const end = headEnd + HEAD_END.length + Number(length);
      if (received.length < end) return;
      received = received.subarray(end);
      deliveries += 1;
      socket.write(head.includes('X-Payment-Complete: ') ? begun : answer);
    }
  });
}

function listen(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer(serve);
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

const count = Number(process.argv[2] ?? '1');
const ports = await Promise.all(Array.from({ length: count }, listen));
process.on('message', (message) => { if (message === 'count') process.send?.({ deliveries }); });
process.on('SIGTERM', () => process.exit(0));
process.stdout.write(`${JSON.stringify({ ports })}\n`);
