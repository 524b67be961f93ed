/** What happens to a cluster in one run, as data: drawn from the seed, and cut down by shrinking. */
import type { KeyPurpose } from '@raftseal/interface';
import type { AppendFault } from '@raftseal/raft-engine-simulated';
import { Random } from '@raftseal/rigs/random';

export const nodeIds = ['a', 'b', 'c'] as const;
export type NodeId = (typeof nodeIds)[number];

export const shardIds = [0, 1, 2] as const;
export type ShardId = (typeof shardIds)[number];

/** What a node finds when it is started again. */
export type DiskFound =
  | 'same'
  /** All of it as an earlier copy has it. */
  | 'old'
  /** The folder of its keys as an earlier copy has it. */
  | 'old keys';

/** Faults that end by themselves after `forMs`. */
type Lasting =
  | {
      readonly kind: 'crash';
      readonly node: NodeId;
      readonly isPowerCut: boolean;
      readonly found: DiskFound;
    }
  | { readonly kind: 'pause' | 'partition'; readonly node: NodeId }
  | { readonly kind: 'hold delivery'; readonly node: NodeId; readonly shard: ShardId };

/** What breaks something. */
export type Fault =
  | (Lasting & { readonly forMs: number })
  | {
      readonly kind: 'delay delivery';
      readonly node: NodeId;
      readonly shard: ShardId;
      readonly steps: number;
    }
  /** Of whoever leads. */
  | {
      readonly kind: 'append fault';
      readonly shard: ShardId;
      readonly fault: Exclude<AppendFault, 'flushFailed'>;
    }
  | { readonly kind: 'land late' }
  | { readonly kind: 'depose'; readonly shard: ShardId }
  | { readonly kind: 'elect'; readonly node: NodeId; readonly shard: ShardId }
  | { readonly kind: 'clock jump'; readonly byMs: number };

/** What an operator does, or a node itself. */
export type Operation =
  /** Keeps a copy of the disk, for a restart with an old one. */
  | { readonly kind: 'copy disk'; readonly node: NodeId }
  | { readonly kind: 'flush store'; readonly node: NodeId; readonly shard: ShardId }
  /** As far as two disks have it. */
  | { readonly kind: 'truncate'; readonly shard: ShardId }
  | { readonly kind: 'enable encryption'; readonly waves: readonly (readonly ShardId[])[] }
  | { readonly kind: 'rotate'; readonly purpose: KeyPurpose }
  | { readonly kind: 'rewrap' };

export type Act = Fault | Operation;
export type Action = Act & { readonly afterMs: number };
export type FaultKind = Fault['kind'];

const operationKinds: ReadonlySet<Act['kind']> = new Set<Operation['kind']>([
  'copy disk',
  'flush store',
  'truncate',
  'enable encryption',
  'rotate',
  'rewrap',
]);

export function isFault(act: Act): act is Fault {
  return !operationKinds.has(act.kind);
}

export interface Schedule {
  /** Of everything that is not in the schedule: the order of events, the load, random bytes. */
  readonly seed: number;
  /** The cluster is sealed from its first entry on; otherwise an operator asks for it. */
  readonly bornSealed: boolean;
  /** Several appends under way at once, by an engine that always knows how they ended. */
  readonly isPipelined: boolean;
  readonly clients: number;
  /** Between two operations of a client, about. */
  readonly thinkMs: number;
  readonly actions: readonly Action[];
}

const GAP_MS = 25;
const CLOCK_JUMP_MS = 3_600_000;

type Draw = (random: Random) => Act;

const node = (random: Random): NodeId => random.pick(nodeIds);
const shard = (random: Random): ShardId => random.pick(shardIds);

/** Mostly short, now and then long. */
function duration(random: Random, typicalMs: number): number {
  return Math.ceil(-Math.log(1 - random.fraction()) * typicalMs);
}

function found(random: Random): DiskFound {
  const drawn = random.below(100);
  return drawn < 15 ? 'old' : drawn < 22 ? 'old keys' : 'same';
}

const calm: readonly (readonly [weight: number, draw: Draw])[] = [
  [
    8,
    (random) => ({
      kind: 'crash',
      node: node(random),
      isPowerCut: random.chance(0.5),
      found: found(random),
      forMs: duration(random, 80),
    }),
  ],
  [4, (random) => ({ kind: 'pause', node: node(random), forMs: duration(random, 80) })],
  [
    4,
    (random) => ({
      kind: 'hold delivery',
      node: node(random),
      shard: shard(random),
      forMs: duration(random, 100),
    }),
  ],
  [
    2,
    (random) => ({
      kind: 'delay delivery',
      node: node(random),
      shard: shard(random),
      steps: random.below(8),
    }),
  ],
  [4, (random) => ({ kind: 'depose', shard: shard(random) })],
  [4, (random) => ({ kind: 'elect', node: node(random), shard: shard(random) })],
  [
    2,
    (random) => ({ kind: 'clock jump', byMs: Math.round(random.between(-1, 1) * CLOCK_JUMP_MS) }),
  ],
  [3, (random) => ({ kind: 'copy disk', node: node(random) })],
  [6, (random) => ({ kind: 'flush store', node: node(random), shard: shard(random) })],
  [6, (random) => ({ kind: 'truncate', shard: shard(random) })],
  [
    5,
    (random) => ({ kind: 'rotate', purpose: random.pick(['raft', 'storage', 'index'] as const) }),
  ],
  [1, () => ({ kind: 'rewrap' })],
];

const ambiguous: typeof calm = [
  [4, (random) => ({ kind: 'partition', node: node(random), forMs: duration(random, 80) })],
  [
    8,
    (random) => ({
      kind: 'append fault',
      shard: shard(random),
      fault: random.pick(['ambiguousLanded', 'ambiguousLost', 'ambiguousLate'] as const),
    }),
  ],
  [2, () => ({ kind: 'land late' })],
];

function drawAct(random: Random, isPipelined: boolean): Act {
  const acts = isPipelined ? calm : [...calm, ...ambiguous];
  let drawn = random.below(acts.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, draw] of acts) {
    if (drawn < weight) return draw(random);
    drawn -= weight;
  }
  throw new Error('weights add up');
}

function enabling(random: Random): Act {
  const order = random.shuffled(shardIds.filter((id) => id !== 0));
  const waves = random.chance(0.5) ? order.map((id) => [id]) : [];
  return { kind: 'enable encryption', waves };
}

export function scheduleOf(seed: number): Schedule {
  const random = new Random(seed, 'schedule');
  const isPipelined = random.chance(0.2);
  const bornSealed = random.chance(0.2);
  const count = 16 + random.below(24);
  const gapMs = GAP_MS * random.pick([0.3, 1, 1, 2]);
  const acts = Array.from({ length: count }, () => drawAct(random, isPipelined));
  if (!bornSealed) acts.splice(random.below(Math.ceil(count / 2)), 0, enabling(random));
  return {
    seed,
    bornSealed,
    isPipelined,
    clients: 2 + random.below(4),
    thinkMs: random.pick([15, 40, 80]),
    actions: acts.map((act) => ({ ...act, afterMs: duration(random, gapMs) })),
  };
}
