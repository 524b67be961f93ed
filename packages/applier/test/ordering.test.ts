/**
 * Guards of the orders that the state machine must keep, and a canary for each: a transition that
 * gets just this order wrong. A guard that lets its canary pass guards nothing.
 */
import type { KeyState } from '@raftseal/interface';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type BootstrapEntry,
  type KeyLifecycleEntry,
  MemoryWriterRegistry,
  type Transition,
  transition,
} from '../src/index.ts';
import {
  bootstrapEntry,
  cutoverRequest,
  emptyState,
  enableStorage,
  marker,
  registration,
  rotation,
} from './world.ts';

type Step = typeof transition;
type Placed = readonly [shardId: number, index: bigint, entry: KeyLifecycleEntry];

let first: BootstrapEntry;
let rotateStorage: KeyLifecycleEntry;
let rotateRaft: KeyLifecycleEntry;
let rotateRaftAgain: KeyLifecycleEntry;

beforeAll(async () => {
  first = await bootstrapEntry();
  rotateStorage = await rotation(4, 'storage');
  rotateRaft = await rotation(5, 'raft');
  rotateRaftAgain = await rotation(6, 'raft');
});

/** Runs entries as a replica would; rows are stored, the last transition is returned. */
function run(
  step: Step,
  entries: readonly Placed[],
  start: { state?: KeyState; registry?: MemoryWriterRegistry } = {},
): Transition {
  const registry = start.registry ?? new MemoryWriterRegistry();
  let state = start.state ?? emptyState();
  let last: Transition | undefined;
  for (const [shardId, index, entry] of entries) {
    last = step(state, { shardId, index, registry }, entry);
    state = last.state;
    for (const effect of last.effects) {
      if (effect.kind === 'writer-rows') void registry.put(effect.rows);
    }
  }
  if (last === undefined) throw new Error('no entries');
  return last;
}

/** A canary: right but for what `wrong` decides. */
const wrongly =
  (wrong: (...args: Parameters<Step>) => Transition | undefined): Step =>
  (...args) =>
    wrong(...args) ?? transition(...args);

const recorded = (
  state: KeyState,
  { shardId, index }: { shardId: number; index: bigint },
): KeyState => ({ ...state, appliedIndex: new Map(state.appliedIndex).set(shardId, index) });

interface Guard {
  readonly rule: string;
  readonly holds: (step: Step) => void;
  readonly mistake: string;
  readonly canary: Step;
}

const guards: readonly Guard[] = [
  {
    rule: 'HAZARD AER-04: a repeated request after a rotation installs the active DEK',
    holds: (step) => {
      const { outcome, effects, state } = run(step, [
        [0, 1n, first],
        [0, 2n, cutoverRequest(2)],
        [0, 3n, rotateRaft],
        [0, 4n, cutoverRequest(2)],
      ]);
      expect(outcome).toEqual({ kind: 'no-op', reason: 'already-active' });
      expect(state.cutoverIndex.get(0)).toBe(2n);
      expect(effects.at(-1)).toEqual({ kind: 'install', shardId: 0, cutoverIndex: 2n, dekId: 5 });
    },
    mistake: 'tests stale-DEK before already-active',
    canary: wrongly((state, context, entry) =>
      entry.kind === 'enable-raft' && entry.dekId !== state.activeDekId.raft
        ? {
            state: recorded(state, context),
            effects: [{ kind: 'sidecar' }],
            outcome: { kind: 'no-op', reason: 'stale-dek' },
          }
        : undefined,
    ),
  },
  {
    rule: 'AES-05: a stale DEK is reported before an envelope that is active',
    holds: (step) => {
      const { outcome } = run(step, [
        [0, 1n, first],
        [0, 2n, enableStorage(1)],
        [0, 3n, rotateStorage],
        [0, 4n, enableStorage(1)],
      ]);
      expect(outcome).toEqual({ kind: 'no-op', reason: 'stale-dek' });
    },
    mistake: 'tests already-active before stale-DEK',
    canary: wrongly((state, context, entry) =>
      entry.kind === 'enable-storage' && state.storageIndex !== undefined
        ? {
            state: recorded(state, context),
            effects: [{ kind: 'sidecar' }],
            outcome: { kind: 'no-op', reason: 'already-active' },
          }
        : undefined,
    ),
  },
  {
    rule: 'AER-05: a stale DEK without a cutover installs nothing and records no cutover',
    holds: (step) => {
      const { outcome, effects, state } = run(step, [
        [0, 1n, first],
        [0, 2n, rotateRaft],
        [0, 3n, cutoverRequest(2)],
      ]);
      expect(outcome).toEqual({ kind: 'no-op', reason: 'stale-dek' });
      expect(effects).toEqual([{ kind: 'sidecar' }]);
      expect(state.cutoverIndex.size).toBe(0);
      expect(state.cutoverIntent).toBeUndefined();
    },
    mistake: 'cuts over with whatever DEK is active',
    canary: wrongly((state, context, entry) =>
      entry.kind === 'enable-raft'
        ? transition(state, context, { ...entry, dekId: state.activeDekId.raft })
        : undefined,
    ),
  },
  {
    rule: 'HAZARD AROT-13: an older rotation that is replayed does not bring its key back',
    holds: (step) => {
      const registry = new MemoryWriterRegistry();
      const life: Placed[] = [
        [0, 1n, first],
        [0, 2n, cutoverRequest(2)],
        [0, 3n, rotateRaft],
        [0, 4n, rotateRaftAgain],
      ];
      const { state } = run(step, life, { registry });
      const again = run(step, [[0, 3n, rotateRaft]], { state, registry });
      expect(again.outcome).toEqual({ kind: 'replayed' });
      expect(again.state).toEqual(state);
      expect(again.effects).toEqual([{ kind: 'install', shardId: 0, cutoverIndex: 2n, dekId: 6 }]);
    },
    mistake: 'applies a rotation again that it has recorded',
    canary: wrongly((state, _, entry) =>
      entry.kind === 'rotate-dek'
        ? {
            state: { ...state, activeDekId: { ...state.activeDekId, raft: entry.dekId } },
            effects: [{ kind: 'sidecar' }],
            outcome: { kind: 'applied' },
          }
        : undefined,
    ),
  },
  {
    rule: 'HAZARD AREG-17: two registrations of one node replay without a halt',
    holds: (step) => {
      const registry = new MemoryWriterRegistry();
      const life: Placed[] = [
        [0, 1n, first],
        [0, 2n, registration('b', 1, 2)],
        [0, 3n, registration('b', 1, 3)],
      ];
      const { state } = run(step, life, { registry });
      const again = run(step, life, { state, registry });
      expect(again.outcome).toEqual({ kind: 'replayed' });
      expect(again.state).toEqual(state);
    },
    mistake: 'forgets which registrations it applied',
    canary: wrongly((state, context, entry) =>
      entry.kind === 'register'
        ? transition({ ...state, appliedIndex: new Map() }, context, entry)
        : undefined,
    ),
  },
  {
    rule: 'HAZARD ABOOT-16: a replayed Bootstrap lowers no nonce epoch',
    holds: (step) => {
      const registry = new MemoryWriterRegistry();
      const { state } = run(
        step,
        [
          [0, 1n, first],
          [0, 2n, registration('a', 2, 4)],
        ],
        { registry },
      );
      const { state: again } = run(step, [[0, 1n, first]], { state, registry });
      expect(again.keys.get(2)?.nonceEpoch).toBe(4);
    },
    mistake: 'writes the first epochs of a Bootstrap anew',
    canary: wrongly((state, _, entry) =>
      entry.kind === 'bootstrap' && state.clusterId !== undefined
        ? {
            state: {
              ...state,
              keys: new Map([...state.keys].map(([id, key]) => [id, { ...key, nonceEpoch: 1 }])),
            },
            effects: [{ kind: 'sidecar' }],
            outcome: { kind: 'applied' },
          }
        : undefined,
    ),
  },
  {
    rule: 'invariant 9: a marker cuts its shard over however far rotations are applied',
    holds: (step) => {
      const start: Placed[] = [
        [0, 1n, first],
        [0, 2n, cutoverRequest(2, 7)],
      ];
      const marked: Placed = [7, 40n, marker(2, 2n)];
      const early = run(step, [...start, marked, [0, 3n, rotateRaft]]);
      const late = run(step, [...start, [0, 3n, rotateRaft], marked]);
      expect(late.state.cutoverIndex).toEqual(early.state.cutoverIndex);
      expect(late.effects.at(-1)).toEqual({
        kind: 'install',
        shardId: 7,
        cutoverIndex: 40n,
        dekId: 5,
      });
    },
    mistake: "compares another shard's marker with the DEK that is active here",
    canary: wrongly((state, context, entry) =>
      entry.kind === 'enable-raft' && entry.dekId !== state.activeDekId.raft
        ? {
            state: recorded(state, context),
            effects: [{ kind: 'sidecar' }],
            outcome: { kind: 'no-op', reason: 'stale-dek' },
          }
        : undefined,
    ),
  },
  {
    rule: 'effects are in the order load, rows, sidecar, install',
    holds: (step) => {
      const { effects } = run(step, [
        [0, 1n, first],
        [0, 2n, cutoverRequest(2, 7)],
        [7, 40n, marker(2, 2n)],
        [0, 3n, rotateRaft],
      ]);
      const kinds = effects.map(({ kind }) => kind);
      expect(kinds).toEqual(['load-deks', 'writer-rows', 'sidecar', 'install', 'install']);
    },
    mistake: 'installs before the sidecar is durable',
    canary: (...args) => {
      const right = transition(...args);
      return { ...right, effects: right.effects.toReversed() };
    },
  },
  {
    rule: 'AROT-05: a rotation keeps the older keys',
    holds: (step) => {
      const { state } = run(step, [
        [0, 1n, first],
        [0, 2n, rotateRaft],
      ]);
      expect([...state.keys.keys()]).toEqual([1, 2, 3, 5]);
      expect(state.activeDekId).toEqual({ storage: 1, raft: 5, index: 3 });
    },
    mistake: 'replaces the key',
    canary: (...args) => {
      const right = transition(...args);
      const keys = new Map(right.state.keys);
      if (args[2].kind === 'rotate-dek') keys.delete(2);
      return { ...right, state: { ...right.state, keys } };
    },
  },
];

describe.each(guards)('$rule', ({ holds, mistake, canary }) => {
  it('holds', () => holds(transition));

  it(`canary: does not hold for a transition that ${mistake}`, () => {
    expect(() => holds(canary)).toThrow();
  });
});
