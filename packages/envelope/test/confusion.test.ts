import { describe, expect, it } from 'vitest';
import {
  Keyring,
  openRaftV1,
  openStorageV1,
  RaftSeal,
  StorageSeal,
  sealRaftV1,
  sealStorageV1,
} from '../src/index.ts';
import { clusterId, fixture, RAFT_DEK, STORAGE_DEK, sharedDek } from './fixture.ts';

const code = (name: string) => expect.objectContaining({ code: `RAFTSEAL_ENVELOPE_${name}` });
const content = Buffer.from('attack at dawn');
const place = { shardId: 1, index: 5n };
const row = { shardId: 1, header: new Uint8Array(9), rowKey: new Uint8Array(32) };
const v1 = { header: new Uint8Array(9), encodedKey: new Uint8Array(32) };

function sealed() {
  const { keyring, raft, storage, raftNonces, storageNonces } = fixture();
  const underRaft = { dekId: RAFT_DEK, nonces: raftNonces };
  const underStorage = { dekId: STORAGE_DEK, nonces: storageNonces };
  return {
    keyring,
    raft,
    storage,
    raftNonces,
    raft1: sealRaftV1(keyring, underRaft, content),
    raft2: raft.seal({ ...underRaft, ...place }, content),
    storage1: sealStorageV1(keyring, { ...underStorage, ...v1 }, content),
    storage2: storage.seal({ ...underStorage, ...row }, content),
  };
}

/** The same envelope with another version byte. */
function asVersion(version: number, envelope: Uint8Array): Uint8Array {
  const copy = new Uint8Array(envelope);
  copy[0] = version;
  return copy;
}

describe('versions', () => {
  it('what opens one version refuses the other', () => {
    const s = sealed();
    expect(() => s.raft.open(place, s.raft1)).toThrow(code('VERSION'));
    expect(() => openRaftV1(s.keyring, s.raft2)).toThrow(code('VERSION'));
    expect(() => s.storage.open(row, s.storage1)).toThrow(code('VERSION'));
    expect(() => openStorageV1(s.keyring, v1, s.storage2)).toThrow(code('VERSION'));
  });

  it('HAZARD RENV-10: a version 1 envelope relabelled as version 2 does not open', () => {
    const s = sealed();
    expect(() => s.raft.open(place, asVersion(2, s.raft1))).toThrow(code('INTEGRITY'));
    expect(() => openRaftV1(s.keyring, asVersion(1, s.raft2))).toThrow(code('INTEGRITY'));
    expect(() => s.storage.open(row, asVersion(2, s.storage1))).toThrow(code('INTEGRITY'));
    expect(() => openStorageV1(s.keyring, v1, asVersion(1, s.storage2))).toThrow(code('INTEGRITY'));
  });

  it('HAZARD RENV-06: a raft envelope with another flag is refused, whatever the version', () => {
    const s = sealed();
    for (const flag of [1, 2, 0x80, 0xff]) {
      s.raft1[1] = flag;
      s.raft2[1] = flag;
      expect(() => openRaftV1(s.keyring, s.raft1)).toThrow(code('FLAG'));
      expect(() => s.raft.open(place, s.raft2)).toThrow(code('FLAG'));
    }
  });
});

describe('layers', () => {
  it('HAZARD ENV-14: a DEK of one purpose never opens or seals for another', () => {
    const s = sealed();
    expect(() => s.storage.open(row, s.raft2)).toThrow(code('WRONG_PURPOSE'));
    expect(() => s.raft.open(place, s.storage2)).toThrow(code('WRONG_PURPOSE'));
    expect(() => openStorageV1(s.keyring, v1, s.raft1)).toThrow(code('WRONG_PURPOSE'));
    expect(() => openRaftV1(s.keyring, s.storage1)).toThrow(code('WRONG_PURPOSE'));
    const nonces = s.raftNonces;
    const seals = nonces.seals;
    expect(() => s.raft.seal({ dekId: STORAGE_DEK, nonces, ...place }, content)).toThrow(
      code('WRONG_PURPOSE'),
    );
    expect(() => s.storage.seal({ dekId: RAFT_DEK, nonces, ...row }, content)).toThrow(
      code('WRONG_PURPOSE'),
    );
    expect(nonces.seals).toBe(seals);
  });

  it('an envelope of one layer does not open in the other, though id and key bytes are the same', () => {
    const s = sealed();
    const asRaft = new Keyring();
    asRaft.add(STORAGE_DEK, 'raft', sharedDek);
    const asStorage = new Keyring();
    asStorage.add(RAFT_DEK, 'storage', sharedDek);
    const raft = new RaftSeal({ clusterId, keyring: asRaft });
    const storage = new StorageSeal({ clusterId, keyring: asStorage });
    expect(() => raft.open(place, s.storage2)).toThrow(code('INTEGRITY'));
    expect(() => storage.open(row, s.raft2)).toThrow(code('INTEGRITY'));
    expect(() => openRaftV1(asRaft, s.storage1)).toThrow(code('INTEGRITY'));
    expect(() => openStorageV1(asStorage, v1, s.raft1)).toThrow(code('INTEGRITY'));
  });
});
