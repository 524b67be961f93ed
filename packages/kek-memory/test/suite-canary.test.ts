/**
 * The compliance suite proves something only if it fails for broken providers: each one here
 * breaks one promise, and the suite must name a case that fails.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { kekProviderSuite, type TestRunner } from '@raftseal/compliance';
import { type KekProvider, RaftsealError, type WrapBinding } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { kekInMemory } from '../src/index.ts';

const keks = [randomBytes(32), randomBytes(32)] as const;

const sound = (which: 0 | 1): KekProvider =>
  kekInMemory({ kek: keks[which], kekUri: `memory:${which}` });

/** Names of the cases that fail. */
async function failures(broken: (which: 0 | 1) => KekProvider): Promise<string[]> {
  const cases: [string, () => void | Promise<void>][] = [];
  const runner: TestRunner = {
    describe: (_name, body) => body(),
    it: (name, body) => void cases.push([name, body]),
  };
  kekProviderSuite(runner, {
    name: 'broken',
    create: async () => broken(0),
    createOther: async () => broken(1),
  });
  const failed: string[] = [];
  for (const [name, body] of cases) {
    try {
      await body();
    } catch {
      failed.push(name);
    }
  }
  return failed;
}

/** A provider with some of its methods replaced. */
function withChange(
  which: 0 | 1,
  change: (inner: KekProvider) => Partial<KekProvider>,
): KekProvider {
  const inner = sound(which);
  return {
    kekUri: inner.kekUri,
    wrapKey: (dek, binding) => inner.wrapKey(dek, binding),
    unwrapKey: (wrapped, binding) => inner.unwrapKey(wrapped, binding),
    close: () => inner.close(),
    ...change(inner),
  };
}

const fixed: WrapBinding = { clusterId: Buffer.alloc(16, 1), dekId: 1, purpose: 'raft' };

describe('kekProviderSuite', () => {
  it('passes a sound provider', async () => {
    expect(await failures(sound)).toEqual([]);
  });

  it('fails a provider that binds nothing to its wraps', async () => {
    const failed = await failures((which) =>
      withChange(which, (inner) => ({
        wrapKey: (dek) => inner.wrapKey(dek, fixed),
        unwrapKey: (wrapped) => inner.unwrapKey(wrapped, fixed),
      })),
    );
    expect(failed).toEqual([
      'HAZARD KEK-07: refuses a wrap under another DEK id, purpose or cluster',
    ]);
  });

  it('fails a provider that leaves the purpose out of the binding', async () => {
    const failed = await failures((which) =>
      withChange(which, (inner) => ({
        wrapKey: (dek, binding) => inner.wrapKey(dek, { ...binding, purpose: 'raft' }),
        unwrapKey: (wrapped, binding) => inner.unwrapKey(wrapped, { ...binding, purpose: 'raft' }),
      })),
    );
    expect(failed).toEqual([
      'HAZARD KEK-07: refuses a wrap under another DEK id, purpose or cluster',
    ]);
  });

  it('fails a provider without authentication', async () => {
    const crypt = (which: 0 | 1, nonce: Uint8Array, bytes: Uint8Array): Buffer =>
      createCipheriv('aes-256-ctr', keks[which], nonce).update(bytes);
    const failed = await failures((which) =>
      withChange(which, () => ({
        async wrapKey(dek) {
          const nonce = randomBytes(16);
          return Buffer.concat([nonce, crypt(which, nonce, dek)]);
        },
        unwrapKey: async (wrapped) => crypt(which, wrapped.subarray(0, 16), wrapped.subarray(16)),
      })),
    );
    expect(failed).toContain('invariant 7: refuses a wrap with any one bit flipped');
    expect(failed).toContain('refuses a wrap made under another KEK');
  });

  it('fails a provider that takes a tag of 4 bytes', async () => {
    const failed = await failures((which) =>
      withChange(which, (inner) => ({
        async unwrapKey(wrapped, binding) {
          if (wrapped.length !== 48) return await inner.unwrapKey(wrapped, binding);
          // What node:crypto does without authTagLength: the cut tag authenticates.
          return createDecipheriv('aes-256-ctr', keks[which], Buffer.alloc(16)).update(
            wrapped.subarray(12, 44),
          );
        },
      })),
    );
    expect(failed).toEqual(['invariant 7: refuses a wrap cut at any length, extended, or empty']);
  });

  it('fails a provider that wraps one DEK to the same bytes', async () => {
    const failed = await failures((which) => {
      const made = new Map<string, Uint8Array>();
      return withChange(which, (inner) => ({
        async wrapKey(dek, binding) {
          const name = Buffer.from(dek).toString('hex');
          const fresh = await inner.wrapKey(dek, binding);
          const wrapped = made.get(name) ?? fresh;
          made.set(name, wrapped);
          return wrapped;
        },
      }));
    });
    expect(failed).toEqual(['wraps one DEK differently each time, and never in the clear']);
  });

  it("fails a provider that wipes the caller's DEK", async () => {
    const failed = await failures((which) =>
      withChange(which, (inner) => ({
        async wrapKey(dek, binding) {
          const wrapped = await inner.wrapKey(dek, binding);
          dek.fill(0);
          return wrapped;
        },
      })),
    );
    expect(failed).toContain("leaves the caller's DEK, wrap and cluster id as they were");
  });

  it('fails a provider that hands out one DEK buffer twice', async () => {
    const failed = await failures((which) => {
      const opened = new Map<string, Uint8Array>();
      return withChange(which, (inner) => ({
        async unwrapKey(wrapped, binding) {
          const name = Buffer.from(wrapped).toString('hex');
          const known = await inner.unwrapKey(wrapped, binding);
          const dek = opened.get(name) ?? known;
          opened.set(name, dek);
          return dek;
        },
      }));
    });
    expect(failed).toEqual(['gives each caller a DEK of its own to wipe']);
  });

  it('fails a provider that refuses with other codes', async () => {
    const failed = await failures((which) =>
      withChange(which, (inner) => ({
        async unwrapKey(wrapped, binding) {
          try {
            return await inner.unwrapKey(wrapped, binding);
          } catch (cause) {
            throw new RaftsealError('RAFTSEAL_KEK_UNAVAILABLE', 'refused', { cause });
          }
        },
      })),
    );
    expect(failed).toContain('refuses a wrap made under another KEK');
    expect(failed).toContain('refuses calls after close, which may be repeated');
  });

  it('fails a provider that goes on after close', async () => {
    const failed = await failures((which) =>
      withChange(which, () => ({ close: async () => undefined })),
    );
    expect(failed).toEqual(['refuses calls after close, which may be repeated']);
  });
});
