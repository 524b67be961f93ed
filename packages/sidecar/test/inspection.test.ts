import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { deriveMacKey, encodeSidecar, inspectSidecar } from '../src/index.ts';
import { mac, sampleState, withRecord } from './key-states.ts';

const file = encodeSidecar(sampleState(), mac);

describe('inspectSidecar', () => {
  it('shows the whole state without a key, as JSON', () => {
    const shown = JSON.parse(JSON.stringify(inspectSidecar(file)));
    expect(shown).toMatchObject({
      formatVersion: 1,
      bytes: file.length,
      mac: 'not checked',
      macDekId: 0x2000_0002,
      clusterId: '0102030405060708090a0b0c0d0e0f10',
      nodeId: 'node-a',
      generation: '7',
      appliedIndex: { 0: '9007199254740993', 1: '4000' },
      cutoverIndex: { 0: '9007199254740992', 1: '3999' },
      cutoverIntent: { controlIndex: '9007199254740992', waves: [[0], [1, 2]] },
      storageIndex: '12',
      sealedOnlyIndex: '9007199254740993',
      retired: { 268435456: '9007199254740991' },
      backups: { '2025-10-01': [0x1000_0001, 0x2000_0001] },
      activeDekId: { storage: 0x1000_0001, raft: 0x2000_0002, index: 0xffff_ffff },
      clusterKeys: 'sealed',
      writers: { 1: 'node-a', 65535: 'node-b' },
    });
    expect(shown.keys).toHaveLength(5);
    expect(shown.keys[2]).toEqual({
      dekId: 0x2000_0002,
      purpose: 'raft',
      createdAt: '2025-10-09T08:53:20.000Z',
      nonceEpoch: 3,
      wraps: [{ kekUri: 'file:/etc/raftseal/kek', bytes: 60, fingerprint: expect.any(String) }],
    });
  });

  it('says whether the MAC is right where a key is given', () => {
    expect(inspectSidecar(file, mac.macKey).mac).toBe('valid');
    expect(inspectSidecar(file, deriveMacKey(randomBytes(32))).mac).toBe('invalid');
    expect(() => inspectSidecar(file, randomBytes(5))).toThrow(RangeError);
  });

  it('invariant 10: shows no run of wrapped bytes, and tells two wraps apart', () => {
    const bytes = randomBytes(60);
    const wraps = [
      { kekUri: 'a:', bytes },
      { kekUri: 'b:', bytes: randomBytes(60) },
    ];
    const shown = inspectSidecar(encodeSidecar(withRecord(0x2000_0002, { wraps }), mac));
    const text = JSON.stringify(shown);
    for (let at = 0; at + 4 <= bytes.length; at++) {
      expect(text).not.toContain(bytes.subarray(at, at + 4).toString('hex'));
    }
    const fingerprints = shown.keys[2]?.wraps.map(({ fingerprint }) => fingerprint);
    expect(new Set(fingerprints).size).toBe(2);
  });

  it('shows what is not set, and times that no date has', () => {
    const state = withRecord(0x2000_0002, { createdAtMs: Number.MAX_SAFE_INTEGER });
    const shown = inspectSidecar(
      encodeSidecar(
        {
          ...state,
          storageIndex: undefined,
          sealedOnlyIndex: undefined,
          cutoverIntent: undefined,
        },
        mac,
      ),
    );
    expect(shown.storageIndex).toBeNull();
    expect(shown.sealedOnlyIndex).toBeNull();
    expect(shown.cutoverIntent).toBeNull();
    expect(shown.keys[2]?.createdAt).toBe('9007199254740991 ms');
  });

  it('refuses what is no sidecar', () => {
    expect(() => inspectSidecar(Buffer.from('{"version": 2}'.padEnd(60)))).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_SIDECAR_MAGIC' }),
    );
  });
});
