import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Keyring, NonceSequence, RaftSeal } from '../src/index.ts';

const code = (name: string) => expect.objectContaining({ code: `RAFTSEAL_ENVELOPE_${name}` });
const dek = (fill: number) => new Uint8Array(32).fill(fill);
const clusterId = new Uint8Array(16);
const place = { shardId: 0, index: 1n };
const sequence = (nonceEpoch = 1) => new NonceSequence({ writerId: 1, nonceEpoch });

describe('a keyring', () => {
  it('holds what was added, by id and purpose', () => {
    const keyring = new Keyring();
    keyring.add(0xffff_ffff, 'raft', dek(1));
    keyring.add(5, 'storage', dek(2));
    keyring.add(100, 'index', dek(3));
    expect(keyring.ids()).toEqual([5, 100, 0xffff_ffff]);
    expect([keyring.has(5), keyring.has(6)]).toEqual([true, false]);
    expect(keyring.purposeOf(0xffff_ffff)).toBe('raft');
    expect(keyring.purposeOf(6)).toBeUndefined();
  });

  it('takes the same DEK again, and no other one under its id', () => {
    const keyring = new Keyring();
    keyring.add(1, 'raft', dek(1));
    keyring.add(1, 'raft', dek(1));
    expect(() => keyring.add(1, 'raft', dek(2))).toThrow(code('DEK_CONFLICT'));
    expect(() => keyring.add(1, 'storage', dek(1))).toThrow(code('DEK_CONFLICT'));
    expect(keyring.purposeOf(1)).toBe('raft');
    const seal = new RaftSeal({ clusterId, keyring });
    const other = new Keyring();
    other.add(1, 'raft', dek(1));
    const envelope = seal.seal({ dekId: 1, nonces: sequence(), ...place }, dek(9));
    expect(new RaftSeal({ clusterId, keyring: other }).open(place, envelope)).toEqual(
      Buffer.from(dek(9)),
    );
  });

  it('refuses id 0, ids that are no u32, and DEKs of another length than 32', () => {
    const keyring = new Keyring();
    expect(() => keyring.add(0, 'raft', dek(1))).toThrow(code('RESERVED_DEK_ID'));
    for (const bad of [-1, 2 ** 32, 1.5, Number.NaN]) {
      expect(() => keyring.add(bad, 'raft', dek(1))).toThrow(RangeError);
    }
    for (const length of [0, 16, 31, 33]) {
      expect(() => keyring.add(1, 'raft', new Uint8Array(length))).toThrow(code('DEK_LENGTH'));
    }
    expect(keyring.ids()).toEqual([]);
  });

  it('HAZARD TSH-10: the DEK is a copy, so the caller can wipe its own', () => {
    const keyring = new Keyring();
    const mine = dek(1);
    keyring.add(1, 'raft', mine);
    mine.fill(0);
    keyring.add(1, 'raft', dek(1));
    expect(() => keyring.add(1, 'raft', mine)).toThrow(code('DEK_CONFLICT'));
  });

  it('invariant 10: shows no key bytes when it is inspected or logged', () => {
    const keyring = new Keyring();
    keyring.add(1, 'raft', dek(0xab));
    const shown = inspect(keyring, { depth: null, showHidden: true }) + JSON.stringify(keyring);
    expect(shown).not.toMatch(/ab ?ab|171/);
  });

  it('forgets a deleted DEK', () => {
    const keyring = new Keyring();
    keyring.add(1, 'raft', dek(1));
    expect(keyring.delete(1)).toBe(true);
    expect(keyring.delete(1)).toBe(false);
    expect(() =>
      new RaftSeal({ clusterId, keyring }).seal({ dekId: 1, nonces: sequence(), ...place }, dek(9)),
    ).toThrow(code('UNKNOWN_DEK'));
  });

  it('HAZARD NON-07: a second nonce sequence of the same epoch under one DEK is refused', () => {
    const keyring = new Keyring();
    keyring.add(1, 'raft', dek(1));
    const seal = new RaftSeal({ clusterId, keyring });
    const first = sequence(2);
    seal.seal({ dekId: 1, nonces: first, ...place }, dek(9));
    for (const epoch of [1, 2]) {
      const second = sequence(epoch);
      expect(() => seal.seal({ dekId: 1, nonces: second, ...place }, dek(9))).toThrow(
        code('NONCE_SEQUENCE_CONFLICT'),
      );
      expect(second.seals).toBe(0n);
    }
    keyring.delete(1);
    keyring.add(1, 'raft', dek(1));
    expect(() => seal.seal({ dekId: 1, nonces: sequence(2), ...place }, dek(9))).toThrow(
      code('NONCE_SEQUENCE_CONFLICT'),
    );
    seal.seal({ dekId: 1, nonces: first, ...place }, dek(9));
    seal.seal({ dekId: 1, nonces: sequence(3), ...place }, dek(9));
    expect(() => seal.seal({ dekId: 1, nonces: first, ...place }, dek(9))).toThrow(
      code('NONCE_SEQUENCE_CONFLICT'),
    );
  });
});
