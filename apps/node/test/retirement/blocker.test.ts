import { initialKeyState } from '@raftseal/applier';
import type { KeyState } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import {
  blockersOf,
  type Findings,
  isPassing,
  movedBetween,
  textOf,
} from '../../src/retirement/blocker.ts';
import type { KeyNeeds, ShardNeeds } from '../../src/retirement/key-needs.ts';

const OLD = 17;
const NEW = 18;

const key = { wraps: [], createdAtMs: 0, nonceEpoch: 1 };
const state: KeyState = {
  ...initialKeyState('a'),
  keys: new Map([
    [OLD, { ...key, purpose: 'storage' }],
    [NEW, { ...key, purpose: 'storage' }],
  ]),
  activeDekId: { storage: NEW, raft: 0, index: 0 },
};
const free: ShardNeeds = {
  shardId: 2,
  state: 'follower',
  seals: false,
  rows: 0,
  snapshots: 0,
  installing: false,
  installs: 1,
};
const nothing = { count: 0, last: 0n };
const log = { shardId: 2, firstIndex: 5n, headIndex: 9n, sealed: nothing, wraps: nothing };

function findings(changes: {
  readonly state?: Partial<KeyState>;
  readonly shard?: Partial<ShardNeeds>;
  readonly dek?: KeyNeeds['dek'];
  readonly log?: Partial<Findings['logs'][number]>;
}): Findings {
  return {
    state: { ...state, ...changes.state },
    members: [
      {
        nodeId: 'b',
        processId: 'p',
        dek: changes.dek ?? 'older',
        shards: [{ ...free, ...changes.shard }],
      },
    ],
    logs: [{ ...log, ...changes.log }],
  };
}

describe('the blockers of a retirement', () => {
  it('are none where nothing needs the DEK', () => {
    expect(blockersOf(findings({}), OLD)).toEqual([]);
  });

  it.each([
    ['active', { state: { activeDekId: { storage: OLD, raft: 0, index: 0 } } }],
    ['backup', { state: { backups: new Map([['monday', { createdAtMs: 1, dekIds: [OLD] }]]) } }],
    ['member', { dek: 'unknown' }],
    ['member', { dek: 'active' }],
    ['member', { shard: { state: 'halted' } }],
    ['member', { shard: { state: 'restoring' } }],
    ['member', { shard: { installing: true } }],
    ['member', { shard: { seals: true } }],
    ['rows', { shard: { rows: 3 } }],
    ['snapshot', { shard: { snapshots: 1 } }],
    ['entries', { log: { sealed: { count: 2, last: 6n } } }],
    ['wraps', { log: { wraps: { count: 1, last: 6n } } }],
  ] as const)('hold %s', (kind, changes) => {
    const blockers = blockersOf(findings(changes), OLD);
    expect(blockers.map((blocker) => blocker.kind)).toEqual([kind]);
    for (const blocker of blockers) expect(textOf(blocker)).toMatch(/\w(:|;) \S/);
  });

  it('name a member that does not answer', () => {
    const members = [{ nodeId: 'c', reason: 'it cannot be asked' }];
    expect(blockersOf({ ...findings({}), members }, OLD)).toEqual([
      { kind: 'member', nodeId: 'c', reason: 'it cannot be asked' },
    ]);
  });

  it('leave out a backup that needs other keys', () => {
    const backups = new Map([['monday', { createdAtMs: 1, dekIds: [NEW] }]]);
    expect(blockersOf(findings({ state: { backups } }), OLD)).toEqual([]);
  });

  it('pass by themselves only where logs and snapshots are in the way', () => {
    const passing = findings({
      shard: { snapshots: 1 },
      log: { sealed: { count: 1, last: 6n }, wraps: { count: 1, last: 6n } },
    });
    expect(blockersOf(passing, OLD).every(isPassing)).toBe(true);
    const lasting = [
      ...blockersOf(findings({ shard: { rows: 1, seals: true } }), OLD),
      ...blockersOf(
        findings({ state: { backups: new Map([['m', { createdAtMs: 1, dekIds: [OLD] }]]) } }),
        OLD,
      ),
    ];
    expect(lasting.some(isPassing)).toBe(false);
  });

  it('hold a member that took a snapshot over, or was started, between two questions', () => {
    const { members } = findings({});
    expect(movedBetween(members, members)).toEqual([]);
    const installed = findings({ shard: { installs: 2 } }).members;
    const restarted = members.map((member) => ({ ...member, processId: 'q' }));
    for (const after of [installed, restarted]) {
      expect(movedBetween(members, after)).toMatchObject([{ kind: 'member', nodeId: 'b' }]);
    }
    expect(movedBetween([], members)).toHaveLength(1);
  });
});
