import { Keyring, NonceSequence, RaftSeal, StorageSeal } from '../src/index.ts';

export const clusterId: Uint8Array = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
export const otherClusterId: Uint8Array = Uint8Array.from({ length: 16 }, (_, i) => i + 2);

/** Same key bytes for both layers: only the purpose and the associated data tell them apart. */
export const sharedDek: Uint8Array = new Uint8Array(32).fill(7);

export const RAFT_DEK = 0x8000_0001;
export const STORAGE_DEK = 0xfedc_ba98;

export interface Fixture {
  readonly keyring: Keyring;
  readonly raft: RaftSeal;
  readonly storage: StorageSeal;
  readonly raftNonces: NonceSequence;
  readonly storageNonces: NonceSequence;
}

export function fixture(cluster: Uint8Array = clusterId): Fixture {
  const keyring = new Keyring();
  keyring.add(RAFT_DEK, 'raft', sharedDek);
  keyring.add(STORAGE_DEK, 'storage', sharedDek);
  return {
    keyring,
    raft: new RaftSeal({ clusterId: cluster, keyring }),
    storage: new StorageSeal({ clusterId: cluster, keyring }),
    raftNonces: new NonceSequence({ writerId: 1, nonceEpoch: 1 }),
    storageNonces: new NonceSequence({ writerId: 1, nonceEpoch: 1 }),
  };
}

/** A copy with one bit flipped. */
export function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  return Uint8Array.from(bytes, (byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
}
