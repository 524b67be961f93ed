/** What the network and the service do at the wrong moment. */
import { randomBytes } from 'node:crypto';
import type { KekProvider } from '@raftseal/interface';
import type { Fault } from '@raftseal/kek-services-for-tests';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { briefLimits, useVault } from './vault-world.ts';

const world = useVault();
const binding = { clusterId: randomBytes(16), dekId: 5, purpose: 'raft' } as const;
const dek = randomBytes(32);

let kek: KekProvider;
let wrapped: Uint8Array;

beforeEach(async () => {
  kek = await world.open();
  wrapped = await kek.wrapKey(dek, binding);
});

afterEach(async () => {
  world.vault.http.clearFaults();
  await kek.close();
});

const answer = (status: number, body: unknown, headers = {}): Fault => ({
  kind: 'answer',
  answer: { status, body, headers },
});
const refusal = (code: string, text = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(text) });

/** Requests that one unwrap takes. */
async function attemptsOf(call: Promise<unknown>): Promise<number> {
  const before = world.vault.http.requests.length;
  await call.catch(() => undefined);
  return world.vault.http.requests.length - before;
}

const passing: [string, Fault, string][] = [
  ['throttling', answer(429, { errors: ['request limit exceeded'] }), 'HTTP status 429'],
  ['a fault', answer(500, { errors: ['internal error'] }), 'internal error'],
  ['a sealed Vault', answer(503, { errors: ['Vault is sealed'] }), 'Vault is sealed'],
  ['a page of a proxy', answer(502, '<html>Bad Gateway</html>'), 'HTTP status 502'],
  ['a standby that lags', answer(412, { errors: ['required index state'] }), 'HTTP status 412'],
  ['a reset connection', { kind: 'reset' }, 'ECONNRESET'],
  ['half an answer', { kind: 'half' }, 'ECONNRESET'],
  ['silence', { kind: 'silence' }, 'no answer'],
];

describe('a transient failure', () => {
  it.each(passing)('%s is tried again, and passes unseen', async (_name, fault) => {
    world.vault.http.failNext(fault);
    const call = kek.unwrapKey(wrapped, binding);
    expect(await attemptsOf(call)).toBe(2);
    expect(dek.equals(await call)).toBe(true);
  });

  it.each(passing)('%s that stays ends in a refusal that says so', async (_name, fault, text) => {
    const brief = await world.open({ limits: briefLimits });
    world.vault.http.failNext(fault, { times: Number.POSITIVE_INFINITY });
    const expected = refusal('RAFTSEAL_KEK_UNAVAILABLE', text);
    await Promise.all([
      expect(brief.unwrapKey(wrapped, binding)).rejects.toEqual(expected),
      expect(brief.wrapKey(dek, binding)).rejects.toEqual(expected),
    ]);
    await brief.close();
  });

  it('is not tried again where the service asks for more time than there is', async () => {
    world.vault.http.failNext(answer(429, { errors: ['later'] }, { 'retry-after': '3600' }));
    const call = kek.unwrapKey(wrapped, binding);
    expect(await attemptsOf(call)).toBe(1);
    await expect(call).rejects.toEqual(refusal('RAFTSEAL_KEK_UNAVAILABLE', 'later'));
  });

  it('ends when the provider is closed', async () => {
    world.vault.http.failNext({ kind: 'silence' }, { times: Number.POSITIVE_INFINITY });
    const call = kek.unwrapKey(wrapped, binding);
    await kek.close();
    await expect(call).rejects.toEqual(refusal('RAFTSEAL_KEK_CLOSED'));
  });
});

describe('a refusal', () => {
  it.each<[string, Fault, string]>([
    ['an invalid request', answer(400, { errors: ['what?'] }), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['a proxy', answer(403, '<html>no</html>'), 'RAFTSEAL_KEK_DENIED'],
    ['another method', answer(405, { errors: ['unsupported'] }), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['a redirect', answer(307, '', { location: 'http://x/' }), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['no JSON', answer(200, '{"data":'), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['other JSON', answer(200, { hello: 1 }), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['no base64', answer(200, { data: { plaintext: '*'.repeat(44) } }), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['a short DEK', answer(200, { data: { plaintext: 'AAAA' } }), 'RAFTSEAL_KEK_MISMATCH'],
  ])('by %s is not tried again', async (_name, fault, code) => {
    world.vault.http.failNext(fault);
    const call = kek.unwrapKey(wrapped, binding);
    expect(await attemptsOf(call)).toBe(1);
    await expect(call).rejects.toEqual(refusal(code));
    expect(dek.equals(await kek.unwrapKey(wrapped, binding))).toBe(true);
  });

  it('of a wrap is one with whatever status it comes', async () => {
    for (const status of [400, 500]) {
      const body = { errors: ['cipher: message authentication failed'] };
      world.vault.http.failNext(answer(status, body));
      const call = kek.unwrapKey(wrapped, binding);
      expect(await attemptsOf(call)).toBe(1);
      await expect(call).rejects.toEqual(refusal('RAFTSEAL_KEK_MISMATCH'));
    }
  });

  it('of an encryption is none of a wrap, whatever it says', async () => {
    const body = { errors: ['invalid ciphertext: no prefix'] };
    world.vault.http.failNext(answer(400, body), { on: /encrypt/ });
    await expect(kek.wrapKey(dek, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_UNAVAILABLE'));
  });

  it('gives no wrap that is none', async () => {
    for (const ciphertext of [
      undefined,
      'vault:v1:AAAA',
      'nothing',
      `vault:v0:${'A'.repeat(80)}`,
    ]) {
      world.vault.http.failNext(answer(200, { data: { ciphertext } }), { on: /encrypt/ });
      await expect(kek.wrapKey(dek, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_UNAVAILABLE'));
    }
  });
});

describe('the key in its life', () => {
  it('opens wraps of earlier versions after a rotation, until the engine forbids them', async () => {
    const key = world.vault.createKey('transit/turning');
    const turning = await world.open({ uri: world.uri('turning') });
    const early = await turning.wrapKey(dek, binding);
    key.held.rotate();
    const late = await turning.wrapKey(dek, binding);
    expect(Buffer.from(early).toString()).toMatch(/^vault:v1:/);
    expect(Buffer.from(late).toString()).toMatch(/^vault:v2:/);
    for (const wrap of [early, late]) {
      expect(dek.equals(await turning.unwrapKey(wrap, binding))).toBe(true);
    }
    key.minDecryptionVersion = 2;
    await expect(turning.unwrapKey(early, binding)).rejects.toEqual(
      refusal('RAFTSEAL_KEK_DISABLED', 'too old'),
    );
    expect(dek.equals(await turning.unwrapKey(late, binding))).toBe(true);
    await turning.close();
  });

  it('invariant 7: takes one spelling of a wrap, though the engine takes more', async () => {
    const [, payload = ''] = Buffer.from(wrapped).toString().split('vault:v1:');
    for (const prefix of ['vault:v0:', 'vault:v01:', 'vault:v+1:', 'vault:v1:\n', 'VAULT:v1:']) {
      await expect(kek.unwrapKey(Buffer.from(prefix + payload), binding)).rejects.toEqual(
        refusal('RAFTSEAL_KEK_MISMATCH'),
      );
    }
  });

  it('is not made anew by a wrap once it is deleted', async () => {
    const { vault } = world;
    vault.createKey('transit/deleted');
    const deleted = await world.open({ uri: world.uri('deleted') });
    const wrap = await deleted.wrapKey(dek, binding);
    vault.keys.delete('transit/deleted');
    await expect(deleted.wrapKey(dek, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_MISSING'));
    await expect(deleted.unwrapKey(wrap, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_MISSING'));
    expect(vault.keys.has('transit/deleted')).toBe(false);
    await deleted.close();
  });

  it('is disabled while it is soft-deleted', async () => {
    const key = world.vault.createKey('transit/soft');
    const soft = await world.open({ uri: world.uri('soft') });
    const wrap = await soft.wrapKey(dek, binding);
    key.softDeleted = true;
    await expect(soft.unwrapKey(wrap, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_DISABLED'));
    await expect(soft.wrapKey(dek, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_DISABLED'));
    key.softDeleted = false;
    expect(dek.equals(await soft.unwrapKey(wrap, binding))).toBe(true);
    await soft.close();
  });
});
