import type { RowSeal } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { decodeEnvelope, Keyring, NonceSequence, StoreRowSeal } from '../src/index.ts';
import { clusterId, otherClusterId } from './fixture.ts';

const code = (name: string) => expect.objectContaining({ code: `RAFTSEAL_ENVELOPE_${name}` });
const INDEX_DEK = 0xffff_fff0;
const header = new Uint8Array(9);
const value = Buffer.from('the key and its value');

function keyring(): Keyring {
  const keys = new Keyring();
  keys.add(INDEX_DEK, 'index', new Uint8Array(32).fill(3));
  keys.add(21, 'storage', new Uint8Array(32).fill(4));
  keys.add(22, 'storage', new Uint8Array(32).fill(5));
  keys.add(23, 'raft', new Uint8Array(32).fill(5));
  return keys;
}

function indexOnly(): Keyring {
  const keys = new Keyring();
  keys.add(INDEX_DEK, 'index', new Uint8Array(32).fill(3));
  return keys;
}

const sequence = () => new NonceSequence({ writerId: 1, nonceEpoch: 1 });

function rowSeal(keys = keyring(), cluster = clusterId): StoreRowSeal {
  return new StoreRowSeal({ clusterId: cluster, keyring: keys, indexDekId: INDEX_DEK });
}

describe('a store row seal', () => {
  it('is a RowSeal', () => {
    expectTypeOf<StoreRowSeal>().toExtend<RowSeal>();
  });

  it('opens what it sealed, in its row only', () => {
    const seal = rowSeal();
    seal.setActive({ dekId: 21, nonces: sequence() });
    const row = seal.rowKey(1, Buffer.from('user:1'));
    const envelope = seal.seal(1, row, header, value);
    expect(seal.open(1, row, header, envelope)).toEqual(value);
    const otherRow = seal.rowKey(1, Buffer.from('user:2'));
    const expired = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 1);
    expect(() => seal.open(1, otherRow, header, envelope)).toThrow(code('INTEGRITY'));
    expect(() => seal.open(2, row, header, envelope)).toThrow(code('INTEGRITY'));
    expect(() => seal.open(1, row, expired, envelope)).toThrow(code('INTEGRITY'));
    const elsewhere = rowSeal(keyring(), otherClusterId);
    expect(() => elsewhere.open(1, row, header, envelope)).toThrow(code('INTEGRITY'));
  });

  it('seals nothing before a DEK is active, and opens nevertheless', () => {
    const writer = rowSeal();
    writer.setActive({ dekId: 21, nonces: sequence() });
    const row = writer.rowKey(1, value);
    const envelope = writer.seal(1, row, header, value);
    const reader = rowSeal();
    expect(reader.activeDekId).toBeUndefined();
    expect(() => reader.seal(1, row, header, value)).toThrow(code('NO_ACTIVE_DEK'));
    expect(reader.open(1, row, header, envelope)).toEqual(value);
  });

  it('seals under the DEK that is active, and opens rows from before a rotation', () => {
    const seal = rowSeal();
    seal.setActive({ dekId: 21, nonces: sequence() });
    const row = seal.rowKey(0, value);
    const old = seal.seal(0, row, header, value);
    seal.setActive({ dekId: 22, nonces: sequence() });
    const fresh = seal.seal(0, row, header, value);
    expect([old, fresh].map((e) => decodeEnvelope(e).dekId)).toEqual([21, 22]);
    expect([old, fresh].map((e) => seal.open(0, row, header, e))).toEqual([value, value]);
  });

  it('names the DEK of an envelope, also of one that is not loaded', () => {
    const writer = rowSeal();
    writer.setActive({ dekId: 21, nonces: sequence() });
    const row = writer.rowKey(0, value);
    const envelope = writer.seal(0, row, header, value);
    const reader = new StoreRowSeal({ clusterId, keyring: indexOnly(), indexDekId: INDEX_DEK });
    expect(reader.dekIdOf(envelope)).toBe(21);
    const edited = (offset: number, byte: number): Buffer => {
      const copy = Buffer.from(envelope);
      copy[offset] = byte;
      return copy;
    };
    expect(() => reader.dekIdOf(envelope.subarray(0, 33))).toThrow(code('TOO_SHORT'));
    expect(() => reader.dekIdOf(edited(0, 1))).toThrow(code('VERSION'));
    expect(() => reader.dekIdOf(edited(1, 1))).toThrow(code('FLAG'));
    expect(() => reader.dekIdOf(edited(5, 0))).toThrow(code('RESERVED_DEK_ID'));
  });

  it('a DEK that cannot be active leaves the earlier one active', () => {
    const seal = rowSeal();
    const nonces = sequence();
    seal.setActive({ dekId: 21, nonces });
    const set = (dekId: number) => () => seal.setActive({ dekId, nonces: sequence() });
    expect(set(99)).toThrow(code('UNKNOWN_DEK'));
    expect(set(23)).toThrow(code('WRONG_PURPOSE'));
    expect(set(0)).toThrow(code('RESERVED_DEK_ID'));
    expect(set(21)).toThrow(code('NONCE_SEQUENCE_CONFLICT'));
    expect(seal.activeDekId).toBe(21);
    seal.seal(0, seal.rowKey(0, value), header, value);
    expect(nonces.seals).toBe(1n);
  });

  it('refuses headers of other lengths than 9 and row keys of others than 32', () => {
    const seal = rowSeal();
    const nonces = sequence();
    seal.setActive({ dekId: 21, nonces });
    const row = seal.rowKey(0, value);
    for (const length of [0, 8, 10]) {
      expect(() => seal.seal(0, row, new Uint8Array(length), value)).toThrow(RangeError);
    }
    for (const length of [0, 31, 33]) {
      expect(() => seal.seal(0, new Uint8Array(length), header, value)).toThrow(RangeError);
    }
    expect(nonces.seals).toBe(0n);
  });

  it('needs a loaded DEK of purpose index', () => {
    const keys = keyring();
    const withIndex = (indexDekId: number) => () =>
      new StoreRowSeal({ clusterId, keyring: keys, indexDekId });
    expect(withIndex(99)).toThrow(code('UNKNOWN_DEK'));
    expect(withIndex(21)).toThrow(code('WRONG_PURPOSE'));
  });
});

describe('row keys', () => {
  it('are 32 bytes, the same for the same shard and key in every process', () => {
    const [a, b] = [rowSeal(), rowSeal()];
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), fc.uint8Array(), (shardId, key) => {
        expect(a.rowKey(shardId, key)).toEqual(b.rowKey(shardId, key));
        expect(a.rowKey(shardId, key).length).toBe(32);
      }),
    );
  });

  it('differ between keys, shards and index DEKs, also where shard and key bytes run together', () => {
    const seal = rowSeal();
    const names = new Set<string>();
    for (let shardId = 0; shardId < 20; shardId++) {
      for (let i = 0; i < 20; i++) names.add(seal.rowKey(shardId, Buffer.alloc(i)).toString('hex'));
    }
    expect(names.size).toBe(400);
    const keys = new Keyring();
    keys.add(INDEX_DEK, 'index', new Uint8Array(32).fill(99));
    expect(names.has(rowSeal(keys).rowKey(0, Buffer.alloc(1)).toString('hex'))).toBe(false);
  });

  it('are the callers to keep: a later one does not change an earlier one', () => {
    const seal = rowSeal();
    const first = seal.rowKey(0, Buffer.from('a'));
    const copy = Buffer.from(first);
    for (let i = 0; i < 500; i++) seal.rowKey(i, Buffer.from('b'));
    expect(first).toEqual(copy);
  });

  it('refuse a shard id that is no u32', () => {
    for (const shardId of [-1, 2 ** 32, 0.5]) {
      expect(() => rowSeal().rowKey(shardId, value)).toThrow(RangeError);
    }
  });
});
