/** What may happen to a shard, as data that fast-check draws and shrinks. */
import fc from 'fast-check';

export type AppendFaultName = 'ambiguousLanded' | 'ambiguousLost' | 'ambiguousLate';

export type NodeActionKind =
  | 'elect'
  | 'pause'
  | 'resume'
  | 'partition'
  | 'heal'
  | 'crash'
  | 'stop'
  | 'restart'
  | 'hold'
  | 'release'
  | 'flush'
  | 'delay';

export type ShardActionKind = 'depose' | 'cutover' | 'rotate' | 'landLate';

export type Action =
  | { readonly kind: 'run'; readonly steps: number }
  /** To a node, or to whoever leads. */
  | {
      readonly kind: 'propose';
      readonly to: string;
      readonly key: string;
      readonly count: number;
    }
  /** Of whoever leads. */
  | { readonly kind: 'fault'; readonly fault: AppendFaultName }
  | { readonly kind: NodeActionKind; readonly node: string }
  | { readonly kind: ShardActionKind };

export const nodeIds: readonly string[] = ['a', 'b', 'c'];

const node = fc.constantFrom(...nodeIds);

const run = fc.record({
  kind: fc.constant('run' as const),
  steps: fc.integer({ min: 1, max: 24 }),
});

const propose = fc.record({
  kind: fc.constant('propose' as const),
  to: fc.constantFrom('leader', 'leader', 'leader', ...nodeIds),
  key: fc.constantFrom('x', 'y'),
  count: fc.integer({ min: 1, max: 5 }),
});

const forNode = (...kinds: NodeActionKind[]): fc.Arbitrary<Action> =>
  fc.record({ kind: fc.constantFrom(...kinds), node });

const forShard = (...kinds: ShardActionKind[]): fc.Arbitrary<Action> =>
  fc.record({ kind: fc.constantFrom(...kinds) });

const calm = [
  { weight: 16, arbitrary: run },
  { weight: 12, arbitrary: propose },
  { weight: 2, arbitrary: forNode('elect') },
  { weight: 2, arbitrary: forNode('pause', 'resume', 'resume') },
  { weight: 3, arbitrary: forNode('crash', 'stop', 'restart', 'restart', 'restart') },
  { weight: 2, arbitrary: forNode('hold', 'release', 'release', 'delay') },
  { weight: 1, arbitrary: forNode('flush') },
  { weight: 1, arbitrary: forShard('cutover') },
  { weight: 1, arbitrary: forShard('depose', 'rotate') },
];

const ambiguous = [
  { weight: 2, arbitrary: forNode('partition', 'heal', 'heal') },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('fault' as const),
      fault: fc.constantFrom<AppendFaultName[]>(
        'ambiguousLanded',
        'ambiguousLost',
        'ambiguousLate',
      ),
    }),
  },
  { weight: 1, arbitrary: forShard('landLate') },
];

/** One life of a shard: what its order of events is drawn from, and what happens to it. */
export interface Schedule {
  readonly seed: number;
  readonly actions: readonly Action[];
}

/** @param options.ambiguity whether an append may end with its outcome unknown */
export function schedules(options: { readonly ambiguity: boolean }): fc.Arbitrary<Schedule> {
  const action = fc.oneof<fc.WeightedArbitrary<Action>[]>(
    ...calm,
    ...(options.ambiguity ? ambiguous : []),
  );
  return fc.record({
    seed: fc.nat(),
    actions: fc.array(action, { minLength: 5, maxLength: 120, size: 'max' }),
  });
}
