/** What the network and the service do at the wrong moment. */
import { randomBytes } from 'node:crypto';
import type { KekProvider } from '@raftseal/interface';
import type { Fault, HttpAnswer } from '@raftseal/kek-services-for-tests';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { briefLimits, useGcpKms } from './gcp-world.ts';

const world = useGcpKms();
const binding = { clusterId: randomBytes(16), dekId: 5, purpose: 'raft' } as const;
const dek = randomBytes(32);
const on = /\/v1\//;

let kek: KekProvider;
let wrapped: Uint8Array;

beforeEach(async () => {
  kek = await world.open();
  wrapped = await kek.wrapKey(dek, binding);
});

afterEach(async () => {
  world.kms.http.clearFaults();
  await kek.close();
});

const refusal = (code: string, text = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(text) });

const answer = (code: number, status: string, message = status): Fault => ({
  kind: 'answer',
  answer: { status: code, body: { error: { code, status, message } } },
});

const raw = (status: number, body: unknown): Fault => ({
  kind: 'answer',
  answer: { status, body },
});

/** Changes fields of what the service answers. */
const changed = (fields: object): Fault => ({
  kind: 'change',
  change: (own: HttpAnswer) => ({ ...own, body: Object.assign({}, own.body, fields) }),
});

const kmsRequests = () => world.kms.http.requests.filter(({ path }) => on.test(path)).length;

async function attemptsOf(call: Promise<unknown>): Promise<number> {
  const before = kmsRequests();
  await call.catch(() => undefined);
  return kmsRequests() - before;
}

const passing: [string, Fault, string][] = [
  ['throttling', answer(429, 'RESOURCE_EXHAUSTED', 'Quota exceeded'), 'Quota exceeded'],
  ['a fault', answer(500, 'INTERNAL'), 'INTERNAL'],
  ['a service out of reach', answer(503, 'UNAVAILABLE'), 'UNAVAILABLE'],
  ['a deadline', answer(504, 'DEADLINE_EXCEEDED'), 'DEADLINE_EXCEEDED'],
  ['a page of a proxy', raw(502, '<html>Bad Gateway</html>'), 'HTTP status 502'],
  ['a reset connection', { kind: 'reset' }, 'ECONNRESET'],
  ['half an answer', { kind: 'half' }, 'ECONNRESET'],
  ['silence', { kind: 'silence' }, 'no answer'],
  [
    'a request that was changed on the way',
    answer(400, 'INVALID_ARGUMENT', 'The checksum in field ciphertext_crc32c did not match.'),
    'checksum',
  ],
  [
    'an answer that was changed on the way',
    changed({ plaintextCrc32c: '1', ciphertextCrc32c: '1' }),
    'checksum',
  ],
  [
    'an answer without checksums',
    changed({ plaintextCrc32c: undefined, ciphertextCrc32c: undefined }),
    'checksum',
  ],
];

describe('a transient failure', () => {
  it.each(passing)('%s is tried again, and passes unseen', async (_name, fault) => {
    world.kms.http.failNext(fault, { on });
    const call = kek.unwrapKey(wrapped, binding);
    expect(await attemptsOf(call)).toBe(2);
    expect(dek.equals(await call)).toBe(true);
  });

  it.each(passing)('%s that stays ends in a refusal that says so', async (_name, fault, text) => {
    const brief = await world.open(world.key.name, { limits: briefLimits });
    world.kms.http.failNext(fault, { times: Number.POSITIVE_INFINITY, on });
    const expected = refusal('RAFTSEAL_KEK_UNAVAILABLE', text);
    await Promise.all([
      expect(brief.unwrapKey(wrapped, binding)).rejects.toEqual(expected),
      expect(brief.wrapKey(dek, binding)).rejects.toEqual(expected),
    ]);
    await brief.close();
  });

  it.each(['verifiedPlaintextCrc32c', 'verifiedAdditionalAuthenticatedDataCrc32c'])(
    'is a wrap of bytes that the service did not check: %s',
    async (field) => {
      world.kms.http.failNext(changed({ [field]: false }), { times: 2, on });
      const call = kek.wrapKey(dek, binding);
      expect(await attemptsOf(call)).toBe(3);
      expect(dek.equals(await kek.unwrapKey(await call, binding))).toBe(true);
    },
  );

  it('is one of the metadata server, too', async () => {
    world.kms.http.failNext(raw(503, 'busy'), { on: /computeMetadata.*token/ });
    const again = await world.open();
    expect(dek.equals(await again.unwrapKey(wrapped, binding))).toBe(true);
    await again.close();
  });

  it('ends when the provider is closed', async () => {
    world.kms.http.failNext({ kind: 'silence' }, { times: Number.POSITIVE_INFINITY });
    const call = kek.unwrapKey(wrapped, binding);
    await kek.close();
    await expect(call).rejects.toEqual(refusal('RAFTSEAL_KEK_CLOSED'));
  });
});

describe('a refusal', () => {
  it.each<[string, Fault, string]>([
    ['an unknown error', answer(409, 'ABORTED'), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['a page of a proxy', raw(403, '<html>no</html>'), 'RAFTSEAL_KEK_DENIED'],
    ['an API that is off', answer(403, 'PERMISSION_DENIED'), 'RAFTSEAL_KEK_DENIED'],
    ['no JSON', raw(200, '{"plaintext":'), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['other JSON', raw(200, { hello: 1 }), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['no base64', changed({ plaintext: '*'.repeat(44) }), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['a short DEK', changed({ plaintext: '', plaintextCrc32c: '0' }), 'RAFTSEAL_KEK_MISMATCH'],
  ])('by %s is not tried again', async (_name, fault, code) => {
    world.kms.http.failNext(fault, { on });
    const call = kek.unwrapKey(wrapped, binding);
    expect(await attemptsOf(call)).toBe(1);
    await expect(call).rejects.toEqual(refusal(code));
    expect(dek.equals(await kek.unwrapKey(wrapped, binding))).toBe(true);
  });

  it('of a request that the service cannot read is none of the wrap', async () => {
    world.kms.http.failNext(answer(400, 'INVALID_ARGUMENT', 'what?'), { on: /encrypt/ });
    await expect(kek.wrapKey(dek, binding)).rejects.toEqual(
      refusal('RAFTSEAL_KEK_UNAVAILABLE', 'what?'),
    );
  });

  it('is the wrap of another key', async () => {
    const name = `${world.other.name}/cryptoKeyVersions/1`;
    world.kms.http.failNext(changed({ name }), { on });
    await expect(kek.wrapKey(dek, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_UNAVAILABLE'));
  });

  it('invariant 10: shows no DEK and no token, even where a proxy repeats the request', async () => {
    const text = dek.toString('base64');
    const [token = ''] = world.kms.tokens;
    for (const secret of [text, token]) {
      const fault = answer(403, 'PERMISSION_DENIED', `you sent ${secret}`);
      world.kms.http.failNext(fault, { on: /encrypt/ });
      const found: unknown = await kek.wrapKey(dek, binding).catch((error: unknown) => error);
      expect(found).toEqual(refusal('RAFTSEAL_KEK_DENIED', 'not shown here'));
      expect(String(found)).not.toContain(secret);
      expect(found).not.toHaveProperty('cause');
    }
  });
});
