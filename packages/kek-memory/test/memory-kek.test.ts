import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { WrapBinding } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kekInMemory, WRAPPED_DEK_BYTES } from '../src/index.ts';

const clusterId = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const binding: WrapBinding = { clusterId, dekId: 0x01020304, purpose: 'raft' };
/** `raftseal kek wrap v1` | purpose 2 | 01020304 | cluster id, spelled out. */
const aad = Buffer.from(
  '726166747365616c206b656b20777261702076310201020304000102030405060708090a0b0c0d0e0f',
  'hex',
);

describe('kekInMemory', () => {
  it('writes nonce (12), ciphertext (32) and tag (16) under the documented AAD', async () => {
    const [kek, dek] = [randomBytes(32), randomBytes(32)];
    const wrapped = await kekInMemory({ kek, kekUri: 'memory:a' }).wrapKey(dek, binding);
    expect(wrapped.length).toBe(WRAPPED_DEK_BYTES);
    const decipher = createDecipheriv('aes-256-gcm', kek, wrapped.subarray(0, 12), {
      authTagLength: 16,
    });
    decipher.setAAD(aad).setAuthTag(wrapped.subarray(44));
    const opened = Buffer.concat([decipher.update(wrapped.subarray(12, 44)), decipher.final()]);
    expect(opened.equals(dek)).toBe(true);
  });

  it('opens a wrap that was made elsewhere from the documented layout', async () => {
    const kek = Buffer.alloc(32, 7);
    const cipher = createCipheriv('aes-256-gcm', kek, Buffer.alloc(12, 9), { authTagLength: 16 });
    cipher.setAAD(aad);
    const dek = Buffer.alloc(32, 3);
    const wrapped = Buffer.concat([
      Buffer.alloc(12, 9),
      cipher.update(dek),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
    const opened = await kekInMemory({ kek, kekUri: 'memory:a' }).unwrapKey(wrapped, binding);
    expect(Buffer.from(opened).equals(dek)).toBe(true);
  });

  it('refuses a tag that was cut to a length GCM allows elsewhere', async () => {
    const provider = kekInMemory({ kek: randomBytes(32), kekUri: 'memory:a' });
    const wrapped = await provider.wrapKey(randomBytes(32), binding);
    for (const tagBytes of [4, 8, 12, 13, 14, 15]) {
      await expect(provider.unwrapKey(wrapped.subarray(0, 44 + tagBytes), binding)).rejects.toThrow(
        expect.objectContaining({ code: 'RAFTSEAL_KEK_MISMATCH' }),
      );
    }
  });

  it('opens under the exact binding only', async () => {
    const provider = kekInMemory({ kek: randomBytes(32), kekUri: 'memory:a' });
    const bindings = fc.record({
      clusterId: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      dekId: fc.integer({ min: 1, max: 0xffff_ffff }),
      purpose: fc.constantFrom('storage' as const, 'raft' as const, 'index' as const),
    });
    const isSame = (a: WrapBinding, b: WrapBinding): boolean =>
      Buffer.compare(a.clusterId, b.clusterId) === 0 &&
      a.dekId === b.dekId &&
      a.purpose === b.purpose;
    await fc.assert(
      fc.asyncProperty(bindings, bindings, async (made, asked) => {
        const dek = randomBytes(32);
        const opened = await provider
          .unwrapKey(await provider.wrapKey(dek, made), asked)
          .catch(() => undefined);
        expect(opened !== undefined && dek.equals(opened)).toBe(isSame(made, asked));
      }),
      { numRuns: 200 },
    );
  });

  it("copies the KEK: the caller's buffer may be wiped at once", async () => {
    const kek = randomBytes(32);
    const provider = kekInMemory({ kek, kekUri: 'memory:a' });
    const same = kekInMemory({ kek, kekUri: 'memory:a' });
    kek.fill(0);
    const dek = randomBytes(32);
    const opened = await same.unwrapKey(await provider.wrapKey(dek, binding), binding);
    expect(dek.equals(opened)).toBe(true);
  });

  it("refuses a caller's slip: KEK length, empty name, cluster id length, DEK id 0", async () => {
    for (const length of [0, 16, 31, 33]) {
      expect(() => kekInMemory({ kek: randomBytes(length), kekUri: 'memory:a' })).toThrow(
        RangeError,
      );
    }
    expect(() => kekInMemory({ kek: randomBytes(32), kekUri: '' })).toThrow(TypeError);
    const provider = kekInMemory({ kek: randomBytes(32), kekUri: 'memory:a' });
    const dek = randomBytes(32);
    for (const slip of [
      { clusterId: clusterId.subarray(1) },
      { dekId: 0 },
      { dekId: -1 },
      { dekId: 1.5 },
      { dekId: 2 ** 32 },
    ]) {
      await expect(provider.wrapKey(dek, { ...binding, ...slip })).rejects.toThrow(RangeError);
    }
  });

  it('refuses a KEK of zero bytes', () => {
    expect(() => kekInMemory({ kek: Buffer.alloc(32), kekUri: 'memory:a' })).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_KEK_ZERO' }),
    );
  });

  it('invariant 10: names no key byte in a refusal', async () => {
    const [kek, dek] = [randomBytes(32), randomBytes(32)];
    const provider = kekInMemory({ kek, kekUri: 'memory:a' });
    const wrapped = await provider.wrapKey(dek, binding);
    const error: unknown = await provider
      .unwrapKey(wrapped, { ...binding, dekId: 5 })
      .catch((refusal: unknown) => refusal);
    expect(error).toBeInstanceOf(Error);
    const text = `${String(error)} ${JSON.stringify(error)} ${(error as Error).stack}`;
    for (const secret of [kek, dek]) {
      expect(text).not.toContain(secret.toString('hex'));
      expect(text).not.toContain(secret.toString('base64'));
    }
  });
});
