import { beforeAll, describe, expect, it } from 'vitest';
import * as node from '../src/index.ts';
import { inBareRealm } from './bundle.ts';
import {
  bytes,
  hex,
  type LayerVectors,
  type Place,
  readVectors,
  type SealVector,
} from './vectors.ts';

type Implementation = typeof node;

const layers = ['raft-v1', 'storage-v1', 'raft-v2', 'storage-v2'] as const;

function keyringOf({ Keyring }: Implementation, { deks }: LayerVectors): node.Keyring {
  const keyring = new Keyring();
  for (const { dekId, purpose, dek } of deks) keyring.add(dekId, purpose, bytes(dek));
  return keyring;
}

interface Layer {
  seal(vector: SealVector, nonces: node.NonceSequence): Uint8Array;
  open(place: Place, envelope: Uint8Array): Uint8Array;
}

function layerOf(
  implementation: Implementation,
  name: (typeof layers)[number],
  vectors: LayerVectors,
): Layer {
  const keyring = keyringOf(implementation, vectors);
  const clusterId = (place: Place): Uint8Array => {
    return bytes(place.clusterId ?? vectors.clusterId ?? '');
  };
  const raft = (p: Place) => ({ shardId: p.shardId, index: BigInt(p.index) });
  const storage = (p: Place) => ({
    shardId: p.shardId,
    header: bytes(p.header),
    rowKey: bytes(p.rowKey),
  });
  const storageV1 = (p: Place) => ({ header: bytes(p.header), encodedKey: bytes(p.encodedKey) });
  const { RaftSeal, StorageSeal, sealRaftV1, openRaftV1, sealStorageV1, openStorageV1 } =
    implementation;
  // A keyring allows one sequence per DEK, so one keyring serves all clusters of the file.
  const raftSeal = (p: Place) => new RaftSeal({ clusterId: clusterId(p), keyring });
  const storageSeal = (p: Place) => new StorageSeal({ clusterId: clusterId(p), keyring });
  switch (name) {
    case 'raft-v1':
      return {
        seal: (v, nonces) => sealRaftV1(keyring, { dekId: v.dekId, nonces }, bytes(v.plaintext)),
        open: (_, envelope) => openRaftV1(keyring, envelope),
      };
    case 'storage-v1':
      return {
        seal: (v, nonces) =>
          sealStorageV1(keyring, { dekId: v.dekId, nonces, ...storageV1(v) }, bytes(v.plaintext)),
        open: (p, envelope) => openStorageV1(keyring, storageV1(p), envelope),
      };
    case 'raft-v2':
      return {
        seal: (v, nonces) =>
          raftSeal(v).seal({ dekId: v.dekId, nonces, ...raft(v) }, bytes(v.plaintext)),
        open: (p, envelope) => raftSeal(p).open(raft(p), envelope),
      };
    case 'storage-v2':
      return {
        seal: (v, nonces) =>
          storageSeal(v).seal({ dekId: v.dekId, nonces, ...storage(v) }, bytes(v.plaintext)),
        open: (p, envelope) => storageSeal(p).open(storage(p), envelope),
      };
  }
}

describe.each([
  ['on node:crypto', async () => node],
  ['bundled for a browser, in a realm without Node globals', inBareRealm],
])('%s', (_, load) => {
  let implementation: Implementation;
  beforeAll(async () => {
    implementation = await load();
  });

  it.each(layers)('every %s vector seals to the given bytes and opens to its plaintext', (name) => {
    const vectors = readVectors(name);
    const layer = layerOf(implementation, name, vectors);
    const sequences = new Map<number, node.NonceSequence>();
    expect(vectors.seal.length).toBeGreaterThanOrEqual(8);
    for (const vector of vectors.seal) {
      const nonces = sequences.get(vector.dekId) ?? new implementation.NonceSequence(vector);
      sequences.set(vector.dekId, nonces);
      const envelope = layer.seal(vector, nonces);
      expect(hex(envelope), vector.name).toBe(vector.envelope);
      expect(envelope.length).toBe(bytes(vector.plaintext).length + 34);
      expect(hex(implementation.decodeEnvelope(envelope).nonce)).toBe(vector.nonce);
      expect(hex(layer.open(vector, bytes(vector.envelope))), vector.name).toBe(vector.plaintext);
    }
  });

  it.each(layers)('every %s vector to be refused is refused with its code', (name) => {
    const vectors = readVectors(name);
    const layer = layerOf(implementation, name, vectors);
    expect(vectors.refuse.length).toBeGreaterThan(20);
    for (const vector of vectors.refuse) {
      expect(() => layer.open(vector, bytes(vector.envelope)), vector.name).toThrow(
        expect.objectContaining({ code: vector.code }),
      );
    }
  });

  it.each(['raft-v1', 'storage-v1'] as const)('the associated data of %s is as given', (name) => {
    for (const v of readVectors(name).seal) {
      const aad =
        name === 'raft-v1'
          ? implementation.raftAadV1(v.dekId)
          : implementation.storageAadV1(v.dekId, bytes(v.header), bytes(v.encodedKey));
      expect(hex(aad)).toBe(v.aad);
    }
  });

  it('nonces are taken apart as given', () => {
    for (const { nonce, counter, ...prefix } of readVectors('nonce').nonces) {
      const parts = implementation.decodeNonce(bytes(nonce));
      expect({ ...parts }).toEqual({ ...prefix, counter: BigInt(counter) });
    }
  });

  it('row keys are as given, also on both sides of the one-shot limit', () => {
    const { dek, rows, label } = readVectors('row-key');
    expect(implementation.ROW_KEY_LABEL).toBe(label);
    const keyring = new implementation.Keyring();
    keyring.add(9, 'index', bytes(dek));
    const prf = new implementation.RowKeyPrf(implementation.ClusterKeys.derivedFrom(keyring, 9));
    for (const { shardId, key, rowKey } of rows) {
      expect(hex(prf.rowKey(shardId, bytes(key)))).toBe(rowKey);
    }
  });

  it('cluster keys are as given, sealed under later index DEKs and opened again', () => {
    const { ClusterKeys } = implementation;
    const vectors = readVectors('cluster-keys');
    expect(implementation.ROW_KEY_LABEL).toBe(vectors.rowKeyLabel);
    expect(implementation.CERTIFICATE_KEY_LABEL).toBe(vectors.certificateKeyLabel);
    const keys = ClusterKeys.derived(bytes(vectors.firstDek));
    expect(hex(keys.rowNameKey())).toBe(vectors.rowNameKey);
    expect(hex(keys.certificateSeed())).toBe(vectors.certificateSeed);
    for (const { name, clusterId, dekId, dek, sealed } of vectors.seal) {
      const binding = { clusterId: bytes(clusterId), dekId, dek: bytes(dek) };
      expect(hex(keys.seal(binding)), name).toBe(sealed);
      const opened = ClusterKeys.open(bytes(sealed), binding);
      expect(opened.equals(keys), name).toBe(true);
      expect(hex(opened.certificateSeed()), name).toBe(vectors.certificateSeed);
    }
  });
});
