/** What the network and the service do at the wrong moment. */
import { randomBytes } from 'node:crypto';
import type { KekProvider } from '@raftseal/interface';
import type { Fault, HttpAnswer } from '@raftseal/kek-services-for-tests';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { briefLimits, useAwsKms } from './aws-world.ts';

const world = useAwsKms();
const binding = { clusterId: randomBytes(16), dekId: 5, purpose: 'raft' } as const;
const dek = randomBytes(32);

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

const answer = (status: number, body: unknown): Fault => ({
  kind: 'answer',
  answer: { status, headers: { 'content-type': 'application/x-amz-json-1.1' }, body },
});

/** Changes fields of what the service answers. */
const changed = (fields: object): Fault => ({
  kind: 'change',
  change: (own: HttpAnswer) => ({ ...own, body: Object.assign({}, own.body, fields) }),
});

async function attemptsOf(call: Promise<unknown>): Promise<number> {
  const before = world.kms.http.requests.length;
  await call.catch(() => undefined);
  return world.kms.http.requests.length - before;
}

const passing: [string, Fault, string][] = [
  ['throttling', answer(400, { __type: 'ThrottlingException', message: 'Rate exceeded' }), 'Rate'],
  ['status 429', answer(429, { __type: 'TooManyRequestsException' }), 'TooManyRequests'],
  ['a fault', answer(500, { __type: 'KMSInternalException' }), 'KMSInternalException'],
  ['a key out of reach', answer(500, { __type: 'KeyUnavailableException' }), 'KeyUnavailable'],
  ['a slow part', answer(503, { __type: 'DependencyTimeoutException' }), 'DependencyTimeout'],
  ['a page of a proxy', answer(503, '<html>Service Unavailable</html>'), ''],
  ['a reset connection', { kind: 'reset' }, 'ECONNRESET'],
  ['half an answer', { kind: 'half' }, ''],
  ['silence', { kind: 'silence' }, ''],
];

describe('a transient failure', () => {
  it.each(passing)('%s is tried again, and passes unseen', async (_name, fault) => {
    world.kms.http.failNext(fault);
    const call = kek.unwrapKey(wrapped, binding);
    expect(await attemptsOf(call)).toBe(2);
    expect(dek.equals(await call)).toBe(true);
  });

  it.each(passing)('%s that stays ends in a refusal that says so', async (_name, fault, text) => {
    const brief = await world.open(world.key.arn, { limits: briefLimits });
    world.kms.http.failNext(fault, { times: Number.POSITIVE_INFINITY });
    const expected = refusal('RAFTSEAL_KEK_UNAVAILABLE', text);
    await Promise.all([
      expect(brief.unwrapKey(wrapped, binding)).rejects.toEqual(expected),
      expect(brief.wrapKey(dek, binding)).rejects.toEqual(expected),
    ]);
    await brief.close();
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
    ['an unknown error', answer(400, { __type: 'WhatException' }), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['a page of a proxy', answer(403, '<html>no</html>'), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['no JSON', answer(200, '{"Plaintext":'), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['other JSON', answer(200, { hello: 1 }), 'RAFTSEAL_KEK_UNAVAILABLE'],
    ['a short DEK', changed({ Plaintext: 'AAAA' }), 'RAFTSEAL_KEK_MISMATCH'],
    ['another key', changed({ KeyId: 'arn:aws:kms:x' }), 'RAFTSEAL_KEK_MISMATCH'],
  ])('by %s is not tried again', async (_name, fault, code) => {
    world.kms.http.failNext(fault);
    const call = kek.unwrapKey(wrapped, binding);
    expect(await attemptsOf(call)).toBe(1);
    await expect(call).rejects.toEqual(refusal(code));
    expect(dek.equals(await kek.unwrapKey(wrapped, binding))).toBe(true);
  });

  it('of the wrap of another key is one', async () => {
    for (const fields of [{ KeyId: world.other.arn }, { CiphertextBlob: undefined }]) {
      world.kms.http.failNext(changed(fields));
      await expect(kek.wrapKey(dek, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_UNAVAILABLE'));
    }
  });

  it('invariant 10: shows no DEK, even where a proxy repeats the request', async () => {
    const text = dek.toString('base64');
    const body = { __type: 'AccessDeniedException', message: `you sent ${text}` };
    world.kms.http.failNext(answer(400, body));
    const found: unknown = await kek.wrapKey(dek, binding).catch((error: unknown) => error);
    expect(found).toEqual(refusal('RAFTSEAL_KEK_DENIED'));
    expect(String(found)).not.toContain(text);
    expect(found).not.toHaveProperty('cause');
  });
});
