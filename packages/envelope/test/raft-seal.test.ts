import { describe, expect, it } from 'vitest';
import { decodeEnvelope, Keyring, NonceSequence, RaftSeal } from '../src/index.ts';
import { clusterId, fixture, RAFT_DEK, sharedDek } from './fixture.ts';

const code = (name: string) => expect.objectContaining({ code: `RAFTSEAL_ENVELOPE_${name}` });
const content = Buffer.from('SET balance:alice 1000');
const place = { shardId: 4, index: 77n };

describe('a raft seal', () => {
  it('leaves the asked headroom, zero, before the envelope', () => {
    for (const headroom of [0, 1, 7, 100]) {
      const { raft, raftNonces: nonces } = fixture();
      const sealed = raft.seal({ dekId: RAFT_DEK, nonces, ...place }, content, headroom);
      expect(sealed.length).toBe(headroom + 34 + content.length);
      expect(sealed.subarray(0, headroom).every((byte) => byte === 0)).toBe(true);
      expect(raft.open(place, sealed.subarray(headroom))).toEqual(content);
    }
  });

  it('invariant 10: no part of the plaintext stands in the envelope or in an error', () => {
    const { raft, raftNonces: nonces } = fixture();
    const envelope = raft.seal({ dekId: RAFT_DEK, nonces, ...place }, content);
    for (let i = 0; i + 4 <= content.length; i++) {
      expect(envelope.includes(content.subarray(i, i + 4))).toBe(false);
    }
    envelope[20] = (envelope[20] ?? 0) ^ 1;
    const message = messageOf(() => raft.open(place, envelope));
    expect(message).toContain('entry 77 of shard 4');
    expect(message).not.toMatch(/balance|alice|1000/);
  });

  it('invariant 3: a payload sealed again gets a new nonce and other bytes', () => {
    const { raft, raftNonces: nonces } = fixture();
    const seal = () => raft.seal({ dekId: RAFT_DEK, nonces, ...place }, content);
    const [first, second] = [seal(), seal()];
    expect(decodeEnvelope(first).nonce).not.toEqual(decodeEnvelope(second).nonce);
    expect(first.subarray(18).equals(second.subarray(18))).toBe(false);
    expect(raft.open(place, first)).toEqual(raft.open(place, second));
  });

  it('invariant 3: two writers, and one writer after a restart, never make the same nonce', () => {
    const seen = new Set<string>();
    for (const prefix of [
      { writerId: 1, nonceEpoch: 1 },
      { writerId: 2, nonceEpoch: 1 },
      { writerId: 1, nonceEpoch: 2 },
    ]) {
      const { raft } = fixture();
      const nonces = new NonceSequence(prefix);
      for (let index = 1n; index <= 50n; index++) {
        const envelope = raft.seal({ dekId: RAFT_DEK, nonces, shardId: 0, index }, content);
        seen.add(Buffer.from(decodeEnvelope(envelope).nonce).toString('hex'));
      }
    }
    expect(seen.size).toBe(150);
  });

  it('opens under the DEK that the envelope names, so entries from before a rotation open', () => {
    const { raft, keyring, raftNonces } = fixture();
    const old = raft.seal({ dekId: RAFT_DEK, nonces: raftNonces, ...place }, content);
    keyring.add(12, 'raft', new Uint8Array(32).fill(1));
    const nonces = new NonceSequence({ writerId: 1, nonceEpoch: 1 });
    const fresh = raft.seal({ dekId: 12, nonces, ...place }, content);
    expect([raft.open(place, old), raft.open(place, fresh)]).toEqual([content, content]);
  });

  it('a DEK that is not loaded yet is told apart from damage, and opens once it is loaded', () => {
    const { raft, raftNonces: nonces } = fixture();
    const envelope = raft.seal({ dekId: RAFT_DEK, nonces, ...place }, content);
    const keyring = new Keyring();
    const follower = new RaftSeal({ clusterId, keyring });
    expect(() => follower.open(place, envelope)).toThrow(code('UNKNOWN_DEK'));
    keyring.add(RAFT_DEK, 'raft', sharedDek);
    expect(follower.open(place, envelope)).toEqual(content);
  });

  it('a seal that is refused for its DEK or place draws no nonce', () => {
    const { raft, raftNonces: nonces } = fixture();
    const seal = (over: object) =>
      raft.seal({ dekId: RAFT_DEK, nonces, ...place, ...over }, content);
    expect(() => seal({ dekId: 0 })).toThrow(code('RESERVED_DEK_ID'));
    expect(() => seal({ dekId: 99 })).toThrow(code('UNKNOWN_DEK'));
    for (const shardId of [-1, 2 ** 32, 0.5]) expect(() => seal({ shardId })).toThrow(RangeError);
    for (const index of [0n, -1n, 2n ** 64n]) expect(() => seal({ index })).toThrow(RangeError);
    expect(nonces.seals).toBe(0n);
  });

  it('refuses to seal once its nonces are used up', () => {
    const { raft } = fixture();
    const nonces = new NonceSequence({ writerId: 1, nonceEpoch: 1, sealsMax: 1n });
    const seal = () => raft.seal({ dekId: RAFT_DEK, nonces, ...place }, content);
    seal();
    expect(seal).toThrow(code('NONCES_EXHAUSTED'));
    expect(seal).toThrow(code('NONCES_EXHAUSTED'));
  });

  it('HAZARD TSH-09: envelope and plaintext stay as they are when later ones are made', () => {
    const { raft, raftNonces: nonces } = fixture();
    const seal = (index: bigint) =>
      raft.seal({ dekId: RAFT_DEK, nonces, shardId: 0, index }, Buffer.from(`entry ${index}`));
    const envelopes = Array.from({ length: 300 }, (_, i) => seal(BigInt(i + 1)));
    const opened = envelopes.map((e, i) => raft.open({ shardId: 0, index: BigInt(i + 1) }, e));
    for (const envelope of envelopes) envelope.fill(0);
    expect(opened.map(String)).toEqual(envelopes.map((_, i) => `entry ${i + 1}`));
  });

  it('takes a cluster id of 16 bytes, and copies it', () => {
    const { keyring, raftNonces: nonces, raft } = fixture();
    expect(() => new RaftSeal({ clusterId: new Uint8Array(15), keyring })).toThrow(RangeError);
    const mine = new Uint8Array(clusterId);
    const copying = new RaftSeal({ clusterId: mine, keyring });
    mine.fill(0);
    const envelope = copying.seal({ dekId: RAFT_DEK, nonces, ...place }, content);
    expect(raft.open(place, envelope)).toEqual(content);
  });
});

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof Error ? error.message : '';
  }
  throw new Error('expected an error');
}
