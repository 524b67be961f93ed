import { randomBytes } from 'node:crypto';
import { fieldOf, startAwsKms } from '@raftseal/kek-services-for-tests';
import { describe, expect, it } from 'vitest';
import { briefLimits, useAwsKms } from './aws-world.ts';

const world = useAwsKms();
const clusterId = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const binding = { clusterId, dekId: 77, purpose: 'storage' } as const;
const dek = randomBytes(32);

const refusal = (code: string, text = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(text) });

describe('opening', () => {
  it('asks only what the key is', async () => {
    const before = world.kms.http.requests.length;
    await (await world.open()).close();
    const sent = world.kms.http.requests.slice(before);
    expect(sent.map(({ headers }) => headers['x-amz-target'])).toEqual([
      'TrentService.DescribeKey',
    ]);
  });

  it('names a key, an alias and a region that are none', async () => {
    for (const arn of [
      world.key.arn.replace(/[^/]+$/, '00000000-0000-0000-0000-000000000000'),
      world.key.arn.replace(/key.*$/, 'alias/none'),
    ]) {
      await expect(world.open(arn)).rejects.toEqual(
        refusal('RAFTSEAL_KEK_MISSING', 'does not exist'),
      );
    }
  });

  it.each(['Disabled', 'PendingDeletion', 'PendingImport'] as const)(
    'refuses a key in the state %s',
    async (state) => {
      const key = Object.assign(world.kms.createKey(), { state });
      await expect(world.open(key.arn)).rejects.toEqual(refusal('RAFTSEAL_KEK_DISABLED', state));
    },
  );

  it('takes a key whose primary region is being changed', async () => {
    const key = Object.assign(world.kms.createKey(), { state: 'Updating' });
    await (await world.open(key.arn)).close();
  });

  it.each([{ spec: 'RSA_4096' }, { spec: 'HMAC_256', usage: 'GENERATE_VERIFY_MAC' }] as const)(
    'refuses a key of %o',
    async (kind) => {
      const key = Object.assign(world.kms.createKey(), kind);
      await expect(world.open(key.arn)).rejects.toEqual(refusal('RAFTSEAL_KEK_UNFIT', kind.spec));
    },
  );

  it('is refused without the permission, and with wrong credentials', async () => {
    world.kms.denied.add('DescribeKey');
    await expect(world.open()).rejects.toEqual(
      refusal('RAFTSEAL_KEK_DENIED', 'must give kms:DescribeKey'),
    );
    world.kms.denied.clear();
    const { AWS_SECRET_ACCESS_KEY: secret } = process.env;
    process.env.AWS_SECRET_ACCESS_KEY = 'another';
    await expect(world.open()).rejects.toEqual(
      refusal('RAFTSEAL_KEK_DENIED', 'InvalidSignatureException'),
    );
    process.env.AWS_SECRET_ACCESS_KEY = secret;
  });

  it('asks for credentials where the chain of the SDK has none', async () => {
    const { AWS_ACCESS_KEY_ID: id } = process.env;
    delete process.env.AWS_ACCESS_KEY_ID;
    await expect(world.open()).rejects.toEqual(refusal('RAFTSEAL_KEK_CREDENTIALS'));
    process.env.AWS_ACCESS_KEY_ID = id;
  });

  it('says that nobody listens', async () => {
    const kms = await startAwsKms();
    const endpoint = kms.http.origin;
    await kms.http.close();
    await expect(world.open(world.key.arn, { endpoint, limits: briefLimits })).rejects.toEqual(
      refusal('RAFTSEAL_KEK_UNAVAILABLE', 'ECONNREFUSED'),
    );
  });
});

describe('wraps', () => {
  it('are bound by an encryption context of cluster, DEK and purpose', async () => {
    const kek = await world.open();
    const wrapped = await kek.wrapKey(dek, binding);
    await kek.unwrapKey(wrapped, binding);
    for (const { body } of world.kms.http.requests.slice(-2)) {
      expect(fieldOf(body, 'EncryptionContext')).toEqual({
        cluster: '000102030405060708090a0b0c0d0e0f',
        dek: '77',
        purpose: 'storage',
      });
      expect(fieldOf(body, 'KeyId')).toBe(world.key.arn);
    }
    await kek.close();
  });

  it('invariant 7: of another key of the caller do not open, though they name it', async () => {
    const kek = await world.open();
    const other = await world.open(world.other.arn);
    const planted = await other.wrapKey(dek, binding);
    await expect(kek.unwrapKey(planted, binding)).rejects.toEqual(
      refusal('RAFTSEAL_KEK_MISMATCH', 'IncorrectKeyException'),
    );
    await other.close();
    await kek.close();
  });

  it('open after the key was rotated', async () => {
    const key = world.kms.createKey();
    const kek = await world.open(key.arn);
    const early = await kek.wrapKey(dek, binding);
    key.held.rotate();
    expect(dek.equals(await kek.unwrapKey(early, binding))).toBe(true);
    await kek.close();
  });

  it('are made and opened by one key, even where an alias is pointed to another', async () => {
    const alias = world.kms.setAlias('raftseal', world.key);
    const kek = await world.open(alias);
    expect(kek.kekUri).toBe(`aws-kms:${alias}`);
    const early = await kek.wrapKey(dek, binding);
    world.kms.setAlias('raftseal', world.other);
    const late = await kek.wrapKey(dek, binding);
    const byKey = await world.open();
    for (const wrap of [early, late]) {
      expect(dek.equals(await kek.unwrapKey(wrap, binding))).toBe(true);
      expect(dek.equals(await byKey.unwrapKey(wrap, binding))).toBe(true);
    }
    await byKey.close();
    await kek.close();
    const again = await world.open(alias);
    await expect(again.unwrapKey(early, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_MISMATCH'));
    await again.close();
  });

  it('do not open while the key is disabled or waits to be deleted', async () => {
    const key = world.kms.createKey();
    const kek = await world.open(key.arn);
    const wrapped = await kek.wrapKey(dek, binding);
    for (const state of ['Disabled', 'PendingDeletion'] as const) {
      key.state = state;
      const expected = refusal('RAFTSEAL_KEK_DISABLED');
      await expect(kek.unwrapKey(wrapped, binding)).rejects.toEqual(expected);
      await expect(kek.wrapKey(dek, binding)).rejects.toEqual(expected);
    }
    key.state = 'Enabled';
    expect(dek.equals(await kek.unwrapKey(wrapped, binding))).toBe(true);
    world.kms.keys.delete(key.arn);
    await expect(kek.unwrapKey(wrapped, binding)).rejects.toEqual(refusal('RAFTSEAL_KEK_MISSING'));
    await kek.close();
  });

  it.each(['Encrypt', 'Decrypt'])('need the permission of %s', async (operation) => {
    const kek = await world.open();
    const wrapped = await kek.wrapKey(dek, binding);
    world.kms.denied.add(operation);
    const call =
      operation === 'Encrypt' ? kek.wrapKey(dek, binding) : kek.unwrapKey(wrapped, binding);
    await expect(call).rejects.toEqual(refusal('RAFTSEAL_KEK_DENIED', `kms:${operation}`));
    world.kms.denied.clear();
    await kek.close();
  });
});
