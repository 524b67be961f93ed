import type { KeyRecord, KeyState } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stateProblem, successionProblem } from '../src/state-rules.ts';
import { keyStates, sampleState, withRecord } from './key-states.ts';

const wrap = { kekUri: 'a:', bytes: new Uint8Array(60) };
const raft = 0x2000_0002;
const active = sampleState().activeDekId;

const withKey = (dekId: number, parts: Partial<KeyRecord> = {}): KeyState => {
  const record: KeyRecord = {
    purpose: 'raft',
    wraps: [wrap],
    createdAtMs: 0,
    nonceEpoch: 0,
    ...parts,
  };
  return sampleState({ keys: new Map(sampleState().keys).set(dekId, record) });
};

const retired = (dekId: number, controlIndex: bigint): KeyState['retired'] =>
  new Map([...sampleState().retired, [dekId, { purpose: 'raft', controlIndex }]]);

const backup = (backupId: string, dekIds: number[]): KeyState['backups'] =>
  new Map([[backupId, { createdAtMs: 0, dekIds }]]);

/** The state after the sample's in which a key is retired. */
function retiring(dekId: number, parts: Partial<KeyState> = {}): KeyState {
  const keys = new Map(sampleState().keys);
  keys.delete(dekId);
  const generation = 8n;
  return sampleState({
    generation,
    keys,
    retired: retired(dekId, 9n),
    backups: new Map(),
    ...parts,
  });
}

function withoutOldIndexDek(): KeyState {
  const keys = new Map(sampleState().keys);
  keys.delete(0xffff_fffe);
  return sampleState({ keys });
}

describe('stateProblem', () => {
  it('finds none in a state that may be on disk', () => {
    fc.assert(
      fc.property(keyStates, (state) => {
        expect(stateProblem(state)).toBeUndefined();
      }),
    );
  });

  it.each<[string, KeyState]>([
    ['no keys', sampleState({ keys: new Map() })],
    ['no cluster id', sampleState({ clusterId: undefined })],
    ['before Bootstrap', sampleState({ clusterId: undefined, keys: new Map() })],
  ])('refuses a state with %s', (_name, state) => {
    expect(stateProblem(state)).toMatch(/before Bootstrap/);
  });

  it.each<[string, KeyState]>([
    ['clusterId is not 16', sampleState({ clusterId: new Uint8Array(17) })],
    ['nodeId', sampleState({ nodeId: '' })],
    ['nodeId', sampleState({ nodeId: 'lone surrogate \ud800' })],
    ['nodeId', sampleState({ nodeId: 'n'.repeat(2049) })],
    ['generation', sampleState({ generation: 0n })],
    ['generation', sampleState({ generation: 2n ** 64n })],
    ['generation', sampleState({ generation: 7 as unknown as bigint })],
    ['storageIndex', sampleState({ storageIndex: 0n })],
    ['appliedIndex of shard 0', sampleState({ appliedIndex: new Map([[0, -1n]]) })],
    ['appliedIndex has a shard id', sampleState({ appliedIndex: new Map([[-1, 1n]]) })],
    ['appliedIndex has a shard id', sampleState({ appliedIndex: new Map([[2 ** 32, 1n]]) })],
    ['cutoverIndex of shard 3', sampleState({ cutoverIndex: new Map([[3, 0n]]) })],
    ['cutoverIndex of shard 3', sampleState({ cutoverIndex: new Map([[3, 2n ** 64n]]) })],
    ['controlIndex', sampleState({ cutoverIntent: { controlIndex: 0n, waves: [[0]] } })],
    ['no u32', sampleState({ cutoverIntent: { controlIndex: 1n, waves: [[0.5]] } })],
    ['twice', sampleState({ cutoverIntent: { controlIndex: 1n, waves: [[0], [1, 0]] } })],
    ['DEK id 0', withKey(0)],
    ['DEK id 1.5', withKey(1.5)],
    ['DEK id 4294967296', withKey(2 ** 32)],
    ['unknown purpose', withKey(9, { purpose: 'backup' as 'raft' })],
    ['nonceEpoch', withKey(9, { nonceEpoch: 0x1_0000 })],
    ['nonceEpoch', withKey(9, { nonceEpoch: -1 })],
    ['nonceEpoch', withKey(9, { nonceEpoch: 0.5 })],
    ['createdAtMs', withKey(9, { createdAtMs: 1.5 })],
    ['createdAtMs', withKey(9, { createdAtMs: Number.NaN })],
    ['no wrap', withKey(9, { wraps: [] })],
    ['0 bytes', withKey(9, { wraps: [{ kekUri: 'a:', bytes: new Uint8Array(0) }] })],
    ['16385 bytes', withKey(9, { wraps: [{ kekUri: 'a:', bytes: new Uint8Array(16_385) }] })],
    ['kekUri', withKey(9, { wraps: [{ ...wrap, kekUri: '' }] })],
    ['two wraps under one KEK', withKey(9, { wraps: [wrap, wrap] })],
    ['active raft DEK 0', sampleState({ activeDekId: { ...active, raft: 0 } })],
    ['active index DEK 5', sampleState({ activeDekId: { ...active, index: 5 } })],
    ['is a key for raft', sampleState({ activeDekId: { ...active, storage: raft } })],
    ['is retired and among the keys', retiring(0x2000_0001, { keys: sampleState().keys })],
    ['controlIndex of retired DEK 7', sampleState({ retired: retired(7, 0n) })],
    ['id 0 of a retired DEK', sampleState({ retired: retired(0, 1n) })],
    ['there are no sealed cluster keys', sampleState({ sealedClusterKeys: undefined })],
    ['the index DEK was not rotated', withoutOldIndexDek()],
    ['are not 80 bytes', sampleState({ sealedClusterKeys: new Uint8Array(79) })],
    ['sealedOnlyIndex', sampleState({ sealedOnlyIndex: 0n })],
    ['values are not sealed', sampleState({ storageIndex: undefined })],
    ['a backup id', sampleState({ backups: backup('', []) })],
    ['needs DEK 7', sampleState({ backups: backup('monday', [7]) })],
    ['do not ascend', sampleState({ backups: backup('monday', [0xffff_ffff, raft]) })],
    ['writer id 0', sampleState({ writers: new Map([[0, 'node-a']]) })],
    ['writer id 65536', sampleState({ writers: new Map([[65_536, 'node-a']]) })],
    ['node id of writer 2', sampleState({ writers: new Map([[2, '']]) })],
  ])('SC-10 and SC-11: names %s', (expected, state) => {
    expect(stateProblem(state)).toContain(expected);
  });
});

describe('successionProblem', () => {
  const after = (parts: Partial<KeyState>): KeyState => sampleState({ generation: 8n, ...parts });
  const changedRecord = (parts: Partial<KeyRecord>): KeyState =>
    after({ keys: withRecord(raft, parts).keys });

  const rotatedIndex = (): KeyState =>
    after({
      activeDekId: { ...active, index: 0xffff_fffe },
      sealedClusterKeys: new Uint8Array(80),
    });

  it.each<[string, KeyState]>([
    ['nothing but the generation', after({})],
    ['a gap in the generation', after({ generation: 2n ** 64n - 1n })],
    ['a higher epoch', changedRecord({ nonceEpoch: 4 })],
    ['other wraps', changedRecord({ wraps: [wrap] })],
    ['a retired key', retiring(0x2000_0001)],
    ['other sealed cluster keys, with another index DEK', rotatedIndex()],
    ['a cutover on another shard', after({ cutoverIndex: cutovers([2, 5n]) })],
    ['a higher applied index', after({ appliedIndex: applied([1, 4_001n]) })],
    ['a new writer', after({ writers: new Map([...sampleState().writers, [3, 'node-c']]) })],
  ])('allows %s', (_name, state) => {
    expect(successionProblem(sampleState(), state)).toBeUndefined();
  });

  it.each<[string, KeyState]>([
    ['generation 7 does not follow 7', sampleState()],
    ['generation 6 does not follow 7', sampleState({ generation: 6n })],
    ['nodeId changes', after({ nodeId: 'node-b' })],
    ['clusterId changes', after({ clusterId: new Uint8Array(16) })],
    ['storageIndex changes', after({ storageIndex: 13n })],
    ['storageIndex changes', after({ storageIndex: undefined })],
    ['sealedOnlyIndex changes', after({ sealedOnlyIndex: undefined })],
    ['is gone and was not retired', retiring(0x2000_0001, { retired: sampleState().retired })],
    ['was retired and is so no more', after({ retired: new Map() })],
    ['cutover index of shard 1 changes', after({ cutoverIndex: cutovers([1, 4_000n]) })],
    ['cutover index of shard 0 changes', after({ cutoverIndex: new Map() })],
    ['applied index of shard 1 falls', after({ appliedIndex: applied([1, 3_999n]) })],
    ['falls from 4000 to none', after({ appliedIndex: new Map([[0, 2n ** 60n]]) })],
    ['nonce epoch of DEK 536870914 falls from 3 to 2', changedRecord({ nonceEpoch: 2 })],
    ['purpose of DEK 536870914 changes', changedRecord({ purpose: 'storage' })],
    ['the sealed cluster keys change', after({ sealedClusterKeys: new Uint8Array(80) })],
    ['writer id 1 moves', after({ writers: new Map([[1, 'node-b']]) })],
  ])('HAZARD SC-15 and SC-16: names that %s', (expected, state) => {
    expect(successionProblem(sampleState(), state)).toContain(expected);
  });

  it('allows a cutover and the storage switch to be set for the first time', () => {
    const before = sampleState({
      cutoverIndex: new Map(),
      storageIndex: undefined,
      sealedOnlyIndex: undefined,
    });
    expect(successionProblem(before, after({}))).toBeUndefined();
  });
});

function cutovers(entry: [number, bigint]): Map<number, bigint> {
  return new Map([...sampleState().cutoverIndex, entry]);
}

function applied(entry: [number, bigint]): Map<number, bigint> {
  return new Map([...sampleState().appliedIndex, entry]);
}
