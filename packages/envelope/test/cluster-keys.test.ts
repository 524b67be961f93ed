import { describe, expect, it } from 'vitest';
import { ClusterKeys, Keyring, RowKeyPrf, StoreRowSeal } from '../src/index.ts';
import { clusterId, flipped, otherClusterId } from './fixture.ts';

const first = new Uint8Array(32).fill(1);
const dek = new Uint8Array(32).fill(2);
const keys = ClusterKeys.derived(first);
const integrity = expect.objectContaining({ code: 'RAFTSEAL_ENVELOPE_INTEGRITY' });

describe('the cluster keys', () => {
  it('are the same over rotations of the index DEK, and so are the names of rows', () => {
    let [known, from] = [keys, keys];
    for (let dekId = 2; dekId < 6; dekId++) {
      const binding = { clusterId, dekId, dek: new Uint8Array(32).fill(dekId) };
      from = ClusterKeys.open(known.seal(binding), binding);
      expect(from.equals(keys)).toBe(true);
      known = from;
    }
    const key = Buffer.from('user:1');
    expect(new RowKeyPrf(from).rowKey(3, key)).toEqual(new RowKeyPrf(keys).rowKey(3, key));
    const keyring = new Keyring();
    keyring.add(1, 'index', first);
    const before = new StoreRowSeal({ clusterId, keyring, indexDekId: 1 });
    const after = new StoreRowSeal({ clusterId, keyring, clusterKeys: from });
    expect(after.rowKey(3, key)).toEqual(before.rowKey(3, key));
  });

  it('do not open with a bit changed, under another DEK, for another cluster or DEK id', () => {
    const binding = { clusterId, dekId: 2, dek };
    const sealed = keys.seal(binding);
    expect(sealed).toHaveLength(80);
    for (let bit = 0; bit < 8 * sealed.length; bit++) {
      expect(() => ClusterKeys.open(flipped(sealed, bit), binding)).toThrow(integrity);
    }
    for (const change of [{ dek: first }, { clusterId: otherClusterId }, { dekId: 3 }]) {
      expect(() => ClusterKeys.open(sealed, { ...binding, ...change })).toThrow(integrity);
    }
  });

  it('refuse what has a wrong length', () => {
    const binding = { clusterId, dekId: 2, dek };
    expect(() => ClusterKeys.open(new Uint8Array(79), binding)).toThrow(RangeError);
    expect(() => keys.seal({ ...binding, dek: new Uint8Array(31) })).toThrow(RangeError);
    expect(() => keys.seal({ ...binding, clusterId: new Uint8Array(15) })).toThrow(RangeError);
    expect(() => ClusterKeys.derived(new Uint8Array(33))).toThrow(RangeError);
  });

  it('tell other ones apart, and give copies that may be wiped', () => {
    expect(ClusterKeys.derived(dek).equals(keys)).toBe(false);
    keys.rowNameKey().fill(0);
    keys.certificateSeed().fill(0);
    expect(ClusterKeys.derived(first).certificateSeed()).toEqual(keys.certificateSeed());
    expect(keys.certificateSeed()).not.toEqual(keys.rowNameKey());
  });
});
