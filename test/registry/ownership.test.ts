import { Signature, type Wallet } from 'ethers';
import { recoverSigner } from '../../registry/ownership.ts';
import type { Registry } from '../../registry/registry.ts';
import { aDeposit, anAddress, aRegistry, aWallet, platformAddress } from '../support/builders.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let db: TestDatabase;
let strict: Registry;
let demo: Registry;

beforeAll(async () => {
  db = await createTestDatabase();
  strict = aRegistry(db, { demoMode: false });
  demo = aRegistry(db);
  await strict.start();
  await demo.start();
});
afterAll(async () => {
  await strict?.stop();
  await demo?.stop();
  await db?.close();
});

const addressOf = (wallet: Wallet): string => wallet.address.toLowerCase();
const fields = { name: 'Ada' };

async function proofOf(wallet: Wallet, address = addressOf(wallet)): Promise<{ challengeId: string; signature: string; message: string }> {
  const { challengeId, message } = await strict.ownership.challenge(address);
  return { challengeId, message, signature: await wallet.signMessage(message) };
}

describe('A signature', () => {
  const wallet = aWallet();
  const message = 'hello';
  let signature: Signature;
  beforeAll(async () => {
    signature = Signature.from(await wallet.signMessage(message));
  });
  const body = (): string => signature.r.slice(2) + signature.s.slice(2);
  const parity = (): number => signature.yParity;
  const flipped = (): string => {
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    return signature.r.slice(2) + (order - BigInt(signature.s)).toString(16).padStart(64, '0');
  };
  const cases: readonly [string, () => string, boolean][] = [
    ['with v 27 or 28', () => `0x${body()}${(27 + parity()).toString(16)}`, true],
    ['with v 0 or 1', () => `0x${body()}0${parity()}`, true],
    ['without 0x', () => `${body()}${(27 + parity()).toString(16)}`, true],
    ['in upper case', () => `0X${body().toUpperCase()}${(27 + parity()).toString(16).toUpperCase()}`, true],
    ['in its high-s form', () => `0x${flipped()}${(28 - parity()).toString(16)}`, true],
    ['with the other v', () => `0x${body()}${(28 - parity()).toString(16)}`, false],
    ['with v 2', () => `0x${body()}02`, false],
    ['with v 29', () => `0x${body()}1d`, false],
    ['one byte short', () => `0x${body()}`, false],
    ['one byte long', () => `0x${body()}1b00`, false],
    ['of zeros', () => `0x${'00'.repeat(64)}1b`, false],
    ['of ones', () => `0x${'ff'.repeat(64)}1b`, false],
    ['that is no hex', () => 'garbage', false],
    ['that is empty', () => '', false],
  ];
  test.each(cases)('%s is read as it should', (_, text, good) => {
    expect(recoverSigner(message, text()) === addressOf(wallet)).toBe(good);
  });
});

describe('Registering with a proof', () => {
  test('makes the agent and its first key', async () => {
    const wallet = aWallet();
    const { agent, key } = await strict.agents.register(addressOf(wallet), fields, await proofOf(wallet));
    expect(agent).toMatchObject({ address: addressOf(wallet), name: 'Ada', provenAt: expect.any(Date), services: [] });
    expect(await strict.keys.authenticate(key.secret)).toMatchObject({ address: addressOf(wallet), keyId: key.keyId });
  });

  const refusals: readonly [string, string,
    () => Promise<{ address: string; proof: { challengeId: string; signature: string } | null }>][] = [
    ['no proof', 'proof_required', () => Promise.resolve({ address: anAddress(), proof: null })],
    ['a signature of another key', 'invalid_signature', async () => {
      const proof = await proofOf(aWallet(), addressOf(owner));
      return { address: addressOf(owner), proof };
    }],
    ['a signature over another message', 'invalid_signature', async () => {
      const proof = await proofOf(owner);
      return { address: addressOf(owner), proof: { ...proof, signature: await owner.signMessage('something else') } };
    }],
    ['a challenge for another address', 'proof_required', async () => ({ address: anAddress(), proof: await proofOf(owner) })],
    ['a challenge nobody made', 'proof_required',
      async () => ({ address: addressOf(owner), proof: { ...(await proofOf(owner)), challengeId: 'chal_none' } })],
    ['a challenge used before', 'proof_required', async () => {
      const proof = await proofOf(owner);
      await db.prisma.ownershipChallenge.update({ where: { id: proof.challengeId }, data: { usedAt: new Date() } });
      return { address: addressOf(owner), proof };
    }],
    ['a challenge that has expired', 'proof_required', async () => {
      const proof = await proofOf(owner);
      await db.prisma.ownershipChallenge.update({ where: { id: proof.challengeId }, data: { expiresAt: new Date(Date.now() - 1) } });
      return { address: addressOf(owner), proof };
    }],
    ['garbage for a signature', 'invalid_signature',
      async () => ({ address: addressOf(owner), proof: { ...(await proofOf(owner)), signature: '0xdead' } })],
  ];
  const owner = aWallet();
  test.each(refusals)('is refused with %s: %s', async (_, code, make) => {
    const { address, proof } = await make();
    await expect(strict.agents.register(address, fields, proof)).rejects.toMatchObject({ code });
    expect(await strict.agents.find(address)).toBeNull();
  });

  test('uses its challenge up, even when two registrations race with it', async () => {
    const wallet = aWallet();
    const proof = await proofOf(wallet);
    const outcomes = await Promise.allSettled([1, 2].map(() => strict.agents.register(addressOf(wallet), fields, proof)));
    expect(outcomes.map((outcome) => outcome.status).sort()).toEqual(['fulfilled', 'rejected']);
    await strict.agents.remove(addressOf(wallet));
    await expect(strict.agents.register(addressOf(wallet), fields, proof)).rejects.toMatchObject({ code: 'proof_required' });
  });

  test('of a registered agent is refused, and the unused proof still gives a new key', async () => {
    const wallet = aWallet();
    await strict.agents.register(addressOf(wallet), fields, await proofOf(wallet));
    const proof = await proofOf(wallet);
    await expect(strict.agents.register(addressOf(wallet), fields, proof)).rejects.toMatchObject({ code: 'agent_exists' });
    const key = await strict.agents.recover(addressOf(wallet), proof, { name: 'Recovered key', revokeOthers: false });
    expect(await strict.keys.authenticate(key.secret)).not.toBeNull();
  });
});

describe('In demo mode', () => {
  test('a fresh address registers without a proof', async () => {
    const { agent } = await demo.agents.register(anAddress(), fields, null);
    expect(agent.provenAt).toBeNull();
  });

  const guarded: readonly [string, () => Promise<string>][] = [
    ['money waits at the address', async () => {
      const address = anAddress();
      await aDeposit(db.pool, address, '5');
      return address;
    }],
    ['the address was registered and deleted before', async () => {
      const address = anAddress();
      await demo.agents.register(address, fields, null);
      await demo.agents.remove(address);
      return address;
    }],
    ['the address receives the platform fees', () => Promise.resolve(platformAddress)],
  ];
  test.each(guarded)('a proof is still required when %s', async (_, make) => {
    await expect(demo.agents.register(await make(), fields, null)).rejects.toMatchObject({ code: 'proof_required' });
  });

  test('an address registers once, however many try at the same time', async () => {
    const address = anAddress();
    const outcomes = await Promise.allSettled([1, 2, 3, 4].map(() => demo.agents.register(address, fields, null)));
    const codes = outcomes.map((outcome) => (outcome.status === 'fulfilled' ? 'registered' : (outcome.reason as { code: string }).code))
      .sort();
    expect(codes).toEqual(['agent_exists', 'agent_exists', 'agent_exists', 'registered']);
    expect(await demo.keys.list(address, { after: null, limit: 10 })).toHaveLength(1);
  });
});

describe('Whoever proves control', () => {
  test('ends the keys of a claimant who never did', async () => {
    const wallet = aWallet();
    const squatter = await demo.agents.register(addressOf(wallet), fields, null);
    expect(await demo.keys.authenticate(squatter.key.secret)).not.toBeNull();
    const key = await demo.agents.recover(addressOf(wallet), await proofOf(wallet), { name: 'Mine', revokeOthers: false });
    expect(await demo.keys.authenticate(squatter.key.secret)).toBeNull();
    expect(await demo.keys.authenticate(key.secret)).toMatchObject({ address: addressOf(wallet) });
  });

  test('keeps the other keys of a proven agent, unless they shall end', async () => {
    const wallet = aWallet();
    const first = await strict.agents.register(addressOf(wallet), fields, await proofOf(wallet));
    await strict.agents.recover(addressOf(wallet), await proofOf(wallet), { name: 'Second', revokeOthers: false });
    expect(await strict.keys.authenticate(first.key.secret)).not.toBeNull();
    await strict.agents.recover(addressOf(wallet), await proofOf(wallet), { name: 'Third', revokeOthers: true });
    expect(await strict.keys.authenticate(first.key.secret)).toBeNull();
  });

  test('brings a deleted agent back, with its balance and without its old keys', async () => {
    const wallet = aWallet();
    const old = await strict.agents.register(addressOf(wallet), fields, await proofOf(wallet));
    await aDeposit(db.pool, addressOf(wallet), '7');
    await strict.agents.remove(addressOf(wallet));
    const back = await strict.agents.register(addressOf(wallet), { name: 'Ada again' }, await proofOf(wallet));
    expect(back.agent.name).toBe('Ada again');
    expect(await strict.keys.authenticate(old.key.secret)).toBeNull();
    const { rows } = await db.pool.query('SELECT available FROM account WHERE owner = $1', [addressOf(wallet)]);
    expect(rows).toEqual([{ available: '7000000' }]);
  });

  test.each([
    ['a recovery', async (wallet: Wallet) =>
      strict.agents.recover(addressOf(wallet), await proofOf(wallet), { name: 'x', revokeOthers: true })],
    ['a new registration after a deletion', async (wallet: Wallet) => {
      await strict.agents.remove(addressOf(wallet));
      return (await strict.agents.register(addressOf(wallet), fields, await proofOf(wallet))).key;
    }],
  ])('stays in the tenant of the agent through %s', async (_, comeBack) => {
    const wallet = aWallet();
    await strict.agents.register(addressOf(wallet), fields, await proofOf(wallet));
    await db.pool.query(`UPDATE agent SET tenant_id = 'ten_1' WHERE address = $1`, [addressOf(wallet)]);
    const key = await comeBack(wallet);
    expect(await strict.keys.authenticate(key.secret)).toMatchObject({ address: addressOf(wallet), tenantId: 'ten_1' });
  });

  test('gets no key for an agent that is not there', async () => {
    const wallet = aWallet();
    await expect(strict.agents.recover(addressOf(wallet), await proofOf(wallet), { name: 'x', revokeOthers: false }))
      .rejects.toMatchObject({ code: 'agent_not_found' });
  });
});
