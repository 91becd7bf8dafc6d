import pg from 'pg';
import { SuretyError } from '../../domain/errors.ts';
import { translateSqlError, withSqlErrors } from '../../ledger/sql-errors.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const fault = (code: string, message = 'x', detail = ''): Error => Object.assign(new Error(message), { code, detail });

test.each<[string, Error, string | null, string | undefined]>([
  ['a refusal of ours', fault('SURTY', 'insufficient_balance'), 'insufficient_balance', undefined],
  ['a refusal with a code nobody knows', fault('SURTY', 'no_such_code'), null, undefined],
  ['a server that is not there', fault('ECONNREFUSED'), 'unavailable', undefined],
  ['a full server', fault('53300'), 'unavailable', undefined],
  ['a statement that took too long', fault('57014'), 'unavailable', undefined],
  ['a deadlock', fault('40P01'), 'unavailable', undefined],
  ['a pool without a free connection', new Error('timeout exceeded when trying to connect'), 'unavailable', undefined],
  ['a connection that was reset', fault('ECONNRESET'), 'unavailable', 'unknown'],
  ['a server that shuts down', fault('57P01'), 'unavailable', 'unknown'],
  ['a connection that ended', new Error('Connection terminated unexpectedly'), 'unavailable', 'unknown'],
  ['a lost connection inside another error', new Error('outer', { cause: fault('ECONNRESET') }), 'unavailable', 'unknown'],
  ['a server that is starting, as Prisma tells it',
    new Error('outer', { cause: { kind: 'postgres', originalCode: '57P03', originalMessage: 'the database system is starting up' } }),
    'unavailable', undefined],
  ['a statement that took too long, as Prisma tells it', Object.assign(new Error('outer'), { code: 'P2039',
    meta: { driverAdapterError: new Error('inner',
      { cause: { kind: 'postgres', originalCode: '57014', originalMessage: 'too long' } }) } }),
  'unavailable', undefined],
  ['a connection that ended, as Prisma tells it', new Error('outer', { cause: { kind: 'ConnectionClosed' } }), 'unavailable', 'unknown'],
  ['a broken constraint, as Prisma tells it', new Error('outer', { cause: { kind: 'UniqueConstraintViolation', originalCode: '23505' } }),
    null, undefined],
  ['a broken constraint', fault('23505'), null, undefined],
  ['anything else', new Error('x'), null, undefined],
])('%s becomes what the client should see', (_, error, code, funds) => {
  const translated = translateSqlError(error);
  if (code === null) return expect(translated).toBe(error);
  expect(translated).toBeInstanceOf(SuretyError);
  expect(translated).toMatchObject({ code, cause: error });
  expect((translated as SuretyError).extras.body?.['funds_status']).toBe(funds);
});

test('the detail that SQL gives is what the client reads', () => {
  expect(translateSqlError(fault('SURTY', 'not_reversible', 'A hold is given back, not reversed.')))
    .toMatchObject({ message: 'A hold is given back, not reversed.' });
});

describe('On a real server', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await createTestDatabase();
  });
  afterAll(() => db?.close());

  test('a refusal keeps its code', async () => {
    await expect(withSqlErrors(() => db.pool.query(`SELECT ledger_hold('h', 'nobody', 'USDC', 1, 'pending', NULL)`)))
      .rejects.toMatchObject({ code: 'insufficient_balance', status: 402 });
  });

  test('a connection that is cut while a statement runs leaves the outcome unknown', async () => {
    const client = new pg.Client({ connectionString: db.url });
    client.on('error', () => undefined);
    await client.connect();
    const { rows } = await client.query('SELECT pg_backend_pid() AS pid');
    const running = expect(withSqlErrors(() => client.query('SELECT pg_sleep(30)')))
      .rejects.toMatchObject({ code: 'unavailable', extras: { body: { funds_status: 'unknown' } } });
    await db.pool.query('SELECT pg_terminate_backend($1)', [rows[0].pid]);
    await running;
  });
});
