import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  openRaftV1,
  openStorageV1,
  RaftSeal,
  StorageSeal,
  sealRaftV1,
  sealStorageV1,
} from '../src/index.ts';
import { clusterId, fixture, flipped, otherClusterId, RAFT_DEK, STORAGE_DEK } from './fixture.ts';

const plaintext = fc.uint8Array({ maxLength: 48 });
const dense = { numRuns: 12 };

/** Passes where `open` throws one of the package's coded errors. */
function refused(open: () => unknown, what: string): void {
  expect(open, what).toThrow(
    expect.objectContaining({ code: expect.stringMatching(/^RAFTSEAL_ENVELOPE_/) }),
  );
}

function integrity(open: () => unknown, what: string): void {
  expect(open, what).toThrow(expect.objectContaining({ code: 'RAFTSEAL_ENVELOPE_INTEGRITY' }));
}

/** The four layers over one plaintext: seal once, open with whatever bytes. */
function layers(content: Uint8Array) {
  const { keyring, raft, storage, raftNonces, storageNonces } = fixture();
  const place = { shardId: 3, index: 9n };
  const row = { shardId: 3, header: new Uint8Array(9), rowKey: new Uint8Array(32).fill(4) };
  const v1 = { header: new Uint8Array(9), encodedKey: new Uint8Array(5) };
  const underRaft = { dekId: RAFT_DEK, nonces: raftNonces };
  const underStorage = { dekId: STORAGE_DEK, nonces: storageNonces };
  return {
    raft1: {
      envelope: sealRaftV1(keyring, underRaft, content),
      open: (e: Uint8Array) => openRaftV1(keyring, e),
    },
    raft2: {
      envelope: raft.seal({ ...underRaft, ...place }, content),
      open: (e: Uint8Array) => raft.open(place, e),
    },
    storage1: {
      envelope: sealStorageV1(keyring, { ...underStorage, ...v1 }, content),
      open: (e: Uint8Array) => openStorageV1(keyring, v1, e),
    },
    storage2: {
      envelope: storage.seal({ ...underStorage, ...row }, content),
      open: (e: Uint8Array) => storage.open(row, e),
    },
  };
}

describe('invariant 7: an edited envelope does not open', () => {
  it('every plaintext comes back, in every layer', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000, size: 'max' }), (content) => {
        for (const { envelope, open } of Object.values(layers(content))) {
          expect(Buffer.compare(open(envelope), content)).toBe(0);
          expect(envelope.length).toBe(content.length + 34);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('with any one bit of header, nonce, ciphertext or tag flipped', () => {
    fc.assert(
      fc.property(plaintext, (content) => {
        for (const [name, { envelope, open }] of Object.entries(layers(content))) {
          for (let bit = 0; bit < envelope.length * 8; bit++) {
            refused(() => open(flipped(envelope, bit)), `${name}, bit ${bit}`);
          }
        }
      }),
      dense,
    );
  });

  it('cut to any shorter length, at either end, or made longer', () => {
    fc.assert(
      fc.property(plaintext, fc.uint8Array({ minLength: 1, maxLength: 40 }), (content, extra) => {
        for (const [name, { envelope, open }] of Object.entries(layers(content))) {
          for (let length = 0; length < envelope.length; length++) {
            refused(() => open(envelope.subarray(0, length)), `${name}, first ${length}`);
            refused(() => open(envelope.subarray(envelope.length - length)), `last ${length}`);
          }
          refused(() => open(Buffer.concat([envelope, extra])), `${name}, longer`);
        }
      }),
      dense,
    );
  });

  it('arbitrary bytes are refused, in every layer', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.constantFrom(1, 2), (noise, version) => {
        noise.set([version, 0].slice(0, noise.length));
        for (const { open } of Object.values(layers(noise))) refused(() => open(noise), 'noise');
      }),
    );
  });

  it('with the body of one envelope under the header of another', () => {
    const { raft, raftNonces } = fixture();
    const place = { shardId: 0, index: 1n };
    const under = { dekId: RAFT_DEK, nonces: raftNonces, ...place };
    const [a, b] = [raft.seal(under, Buffer.alloc(20, 1)), raft.seal(under, Buffer.alloc(20, 2))];
    integrity(() => raft.open(place, Buffer.concat([a.subarray(0, 18), b.subarray(18)])), 'mixed');
    integrity(
      () => raft.open(place, Buffer.concat([a.subarray(0, -16), b.subarray(-16)])),
      'the tag of another',
    );
  });
});

describe('invariant 7: an envelope opens in its place only', () => {
  const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
  const index = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });

  it('a raft envelope with any one bit of shard, index or cluster changed is refused', () => {
    fc.assert(
      fc.property(u32, index, plaintext, (shardId, at, content) => {
        const { keyring, raft, raftNonces } = fixture();
        const under = { dekId: RAFT_DEK, nonces: raftNonces, shardId, index: at };
        const envelope = raft.seal(under, content);
        expect(Buffer.compare(raft.open(under, envelope), content)).toBe(0);
        for (let bit = 0; bit < 32; bit++) {
          const other = (shardId ^ (1 << bit)) >>> 0;
          integrity(() => raft.open({ shardId: other, index: at }, envelope), `shard bit ${bit}`);
        }
        for (let bit = 0n; bit < 64n; bit++) {
          const other = at ^ (1n << bit);
          if (other === 0n) continue;
          integrity(() => raft.open({ shardId, index: other }, envelope), `index bit ${bit}`);
        }
        for (let bit = 0; bit < 128; bit++) {
          const elsewhere = new RaftSeal({ clusterId: flipped(clusterId, bit), keyring });
          integrity(() => elsewhere.open(under, envelope), `cluster bit ${bit}`);
        }
      }),
      dense,
    );
  });

  it('a storage envelope with any one bit of shard, header, row key or cluster changed is refused', () => {
    const header = fc.uint8Array({ minLength: 9, maxLength: 9 });
    const rowKey = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(u32, header, rowKey, plaintext, (shardId, head, row, content) => {
        const { keyring, storage, storageNonces } = fixture();
        const place = { shardId, header: head, rowKey: row };
        const envelope = storage.seal(
          { dekId: STORAGE_DEK, nonces: storageNonces, ...place },
          content,
        );
        expect(Buffer.compare(storage.open(place, envelope), content)).toBe(0);
        for (let bit = 0; bit < 32; bit++) {
          const other = (shardId ^ (1 << bit)) >>> 0;
          integrity(() => storage.open({ ...place, shardId: other }, envelope), `shard ${bit}`);
        }
        for (let bit = 0; bit < 72; bit++) {
          const other = { ...place, header: flipped(head, bit) };
          integrity(() => storage.open(other, envelope), `header bit ${bit}`);
        }
        for (let bit = 0; bit < 256; bit++) {
          const other = { ...place, rowKey: flipped(row, bit) };
          integrity(() => storage.open(other, envelope), `row key bit ${bit}`);
        }
        const elsewhere = new StorageSeal({ clusterId: otherClusterId, keyring });
        integrity(() => elsewhere.open(place, envelope), 'cluster');
      }),
      dense,
    );
  });
});
