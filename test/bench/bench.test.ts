import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { createHttpClient, parseAnswer, requestHead, requestTail } from '../../bench/http-client.ts';
import { latencyFigures, sampleCpu } from '../../bench/measure.ts';
import { compare } from '../../bench/level.ts';
import { pathsBetween, readPaths } from '../../bench/paths.ts';
import { judge, RATIO_FLOOR } from '../../bench/guard.ts';
import { findCase } from '../../bench/cases/all.ts';

describe('the load generator\'s HTTP client', () => {
  const whole = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-More: 1\r\n\r\nhello';

  test('reads an answer only when it is there as a whole', () => {
    for (let bytes = 0; bytes < whole.length; bytes += 1) expect(parseAnswer(Buffer.from(whole.slice(0, bytes)))).toBeNull();
    expect(parseAnswer(Buffer.from(`${whole}HTTP/1.1`)))
      .toEqual({ answer: { status: 200, body: 'hello' }, bytes: whole.length, close: false });
  });

  test.each([
    ['no HTTP', 'SSH-2.0-something\r\n\r\n'], ['no status', 'HTTP/1.1 xyz\r\nContent-Length: 0\r\n\r\n'],
    ['no length', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ])('refuses %s', (_, text) => {
    expect(() => parseAnswer(Buffer.from(text))).toThrow();
  });

  test('reads an answer without a body and the wish to close', () => {
    expect(parseAnswer(Buffer.from('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n')))
      .toMatchObject({ answer: { status: 204, body: '' }, close: true });
  });

  test('counts bytes and not letters', () => {
    expect(requestTail('{"a":"ü"}')).toBe('Content-Length: 10\r\n\r\n{"a":"ü"}');
    expect(requestHead('h:1', '/p', { A: 'b' })).toBe('POST /p HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\nA: b\r\n');
  });

  describe('with a server', () => {
    let server: Server;
    let answers: (string | null)[] = [];
    let connections = 0;
    beforeAll(async () => {
      server = createServer((socket) => {
        connections += 1;
        socket.on('error', () => undefined).on('data', () => {
          const answer = answers.shift() ?? null;
          if (answer === null) socket.destroy();
          else socket.write(answer);
        });
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    });
    afterAll(() => { server.close(); });

    test('keeps its connection, survives one that breaks, and opens another', async () => {
      const client = createHttpClient('127.0.0.1', (server.address() as AddressInfo).port);
      answers = [whole, whole, null, whole];
      expect(await client.send('x')).toEqual({ status: 200, body: 'hello' });
      expect((await client.send('x')).status).toBe(200);
      expect(connections).toBe(1);
      await expect(client.send('x')).rejects.toThrow();
      expect((await client.send('x')).status).toBe(200);
      expect(connections).toBe(2);
      client.close();
    });
  });
});

describe('figures', () => {
  test('percentiles are values that were measured', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(latencyFigures(hundred)).toEqual({ p50Ms: 50, p95Ms: 95, p99Ms: 99, maxMs: 100 });
    expect(latencyFigures([7])).toEqual({ p50Ms: 7, p95Ms: 7, p99Ms: 7, maxMs: 7 });
    expect(latencyFigures([])).toEqual({ p50Ms: 0, p95Ms: 0, p99Ms: 0, maxMs: 0 });
  });

  test('processor time of a process grows while it works', () => {
    const roots = { api: process.pid, postgres: 0, temporal: 0, sellers: 0, load: 0 };
    const before = sampleCpu(roots);
    // Processor time and not time: on a busy machine the two differ.
    const used = process.cpuUsage();
    while (process.cpuUsage(used).user < 120_000) Math.sqrt(performance.now());
    const after = sampleCpu(roots);
    // Only Linux tells.
    if (process.platform === 'linux') expect(after.apiMs - before.apiMs).toBeGreaterThanOrEqual(50);
    expect(after.postgresMs).toBe(0);
  });
});

describe('the books of a level', () => {
  const seen = { paid: 10, refused: 0, broken: 0, lastError: null };
  const ledger = { paidMicros: 10_000n, stuck: 0 };
  const one = { unitsPerTurn: 1, deliveriesPerUnit: 1, pricePerUnit: '0.001' };

  test('agree when everything that was answered and delivered was paid', () => {
    expect(compare(seen, 10, ledger, 10_000n, one)).toMatchObject({ unpaid: 0, balancesAgree: true, settled: 10, paid: '0.010000' });
  });

  test.each([
    ['an answer whose seller was not paid', { ...seen, paid: 12 }, 10, ledger, 10_000n, { unpaid: 2, balancesAgree: true }],
    ['a delivery that was not paid', seen, 13, ledger, 10_000n, { unpaid: 3 }],
    ['a balance that did not rise as posted', seen, 10, ledger, 9_000n, { balancesAgree: false }],
    ['postings of the wrong amount', seen, 10, { ...ledger, paidMicros: 9_999n }, 9_999n, { balancesAgree: false }],
  ])('show %s', (_, report, deliveries, books, rise, expected) => {
    expect(compare(report, deliveries, books, rise, one)).toMatchObject(expected);
  });

  test('count ticks and steps in money: one posting may pay for a thousand', () => {
    const batched = { unitsPerTurn: 1_000, deliveriesPerUnit: 0, pricePerUnit: '0.000001' };
    expect(compare(seen, 0, ledger, 10_000n, batched))
      .toMatchObject({ answeredPaid: 10_000, settled: 10_000, unpaid: 0, balancesAgree: true });
    expect(compare({ ...seen, paid: 11 }, 0, ledger, 10_000n, batched)).toMatchObject({ unpaid: 1_000 });
    const threeSteps = { unitsPerTurn: 1, deliveriesPerUnit: 3, pricePerUnit: '0.003' };
    expect(compare({ ...seen, paid: 3 }, 9, { ...ledger, paidMicros: 9_000n }, 9_000n, threeSteps))
      .toMatchObject({ settled: 3, unpaid: 0 });
    expect(compare({ ...seen, paid: 3 }, 10, { ...ledger, paidMicros: 9_000n }, 9_000n, threeSteps)).toMatchObject({ unpaid: 1 });
  });

  test('do not mind a call that was settled after the client had gone', () => {
    expect(compare({ ...seen, paid: 9, broken: 1 }, 10, ledger, 10_000n, one)).toMatchObject({ unpaid: 0, balancesAgree: true });
  });
});

describe('the ways that steps went', () => {
  /** What a platform says of itself, from a server that says nothing else. */
  async function readFrom(page: string) {
    const server = createHttpServer((_request, response) => response.end(page));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      return await readPaths({ baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  test('are added up over all kinds, and lives by whether they ever had a workflow', async () => {
    const page = [
      '# HELP surety_payment_steps_total Steps, by kind and path="direct".', '# TYPE surety_payment_steps_total counter',
      'surety_payment_steps_total{kind="escrow",path="workflow"} 1200', 'surety_payment_steps_total{kind="escrow",path="direct"} 3',
      'surety_payment_steps_total{kind="card",path="workflow"} 34', 'surety_payment_steps_totally_other{path="workflow"} 9',
      'surety_payment_lives_total{kind="escrow",life="started"} 400', 'surety_payment_lives_total{kind="escrow",life="unstarted"} 2',
    ].join('\n');
    expect(await readFrom(page)).toEqual({ workflow: 1234, direct: 3, started: 400, unstarted: 2 });
  });

  test('are nothing on a platform that has taken none', async () => {
    expect(await readFrom('surety_http_requests_total 7\n')).toEqual({ workflow: 0, direct: 0, started: 0, unstarted: 0 });
  });

  test('are those between two moments', () => {
    const [before, after] = [{ workflow: 10, direct: 2, started: 3, unstarted: 1 }, { workflow: 25, direct: 2, started: 9, unstarted: 4 }];
    expect(pathsBetween(before, after)).toEqual({ workflow: 15, direct: 0, started: 6, unstarted: 3 });
  });
});

describe('the guard', () => {
  const books = { answeredPaid: 9, refused: 0, broken: 0, deliveries: 9, settled: 9, paid: '0.009000', unpaid: 0, balancesAgree: true,
    stuck: 0, lastError: null };
  const level = {
    clients: 32, seconds: 3, callsPerSecond: 900, p50Ms: 1, p95Ms: 1, p99Ms: 1, maxMs: 1, apiRssMb: 1,
    ratioToBareSql: RATIO_FLOOR, addedMsP50: null,
    stepsMsP50: {}, paths: { workflow: 0, direct: 0, started: 0, unstarted: 0 },
    cpuMsPerCall: { api: 1, postgres: 1, temporal: 1, sellers: 1, load: 1 }, books,
  };

  test('passes at the floor', () => {
    expect(judge({ levels: [level], booksRight: true })).toEqual({ passed: true, complaints: [] });
  });

  test.each([
    ['a rate below the floor', { levels: [{ ...level, ratioToBareSql: RATIO_FLOOR - 0.001 }], booksRight: true }],
    ['an unpaid call', { levels: [{ ...level, books: { ...books, unpaid: 1 } }], booksRight: true }],
    ['a refused call', { levels: [{ ...level, books: { ...books, refused: 1, lastError: '429' } }], booksRight: true }],
    ['books that are not right', { levels: [level], booksRight: false }],
    ['a run without a level', { levels: [], booksRight: true }],
  ])('does not pass with %s', (_, report) => {
    expect(judge(report).passed).toBe(false);
  });
});

test('an unknown case is refused with the names there are', () => {
  expect(() => findCase('nothing')).toThrow(/gateway.*hot/);
});
