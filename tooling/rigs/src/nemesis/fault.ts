/** What can go wrong in a world, and a seeded plan of it. */
import type { Random } from '../random.ts';

/**
 * A node or member by its place; the node that leads most shards when the fault begins; or the one
 * that leads shard 0, where keys are changed.
 */
export type Target = 0 | 1 | 2 | 'busiest' | 'control';

/** Which traffic is lost, seen from the target. */
export type Direction = 'in' | 'out' | 'both';

/** Faults that need no network of the world's own: SIGKILL or SIGSTOP, and its end. */
export type ProcessFaultKind = 'kill-node' | 'pause-node' | 'kill-member' | 'pause-member';

/** Traffic that is lost. */
export type CutKind =
  /** A node loses contact with every member of etcd. */
  | 'cut-node-from-etcd'
  /** With one member of it. */
  | 'cut-node-from-member'
  | 'cut-node-from-peers'
  /** With everything but its clients. */
  | 'cut-node'
  /** A member of etcd loses contact with the other members, and not with the nodes. */
  | 'cut-member'
  /** And with the nodes. */
  | 'cut-member-from-all'
  /** A part of the packets between a node and everything but its clients is lost. */
  | 'lossy-node'
  /** Between a member and everything else. */
  | 'lossy-member';

export type FaultKind = ProcessFaultKind | CutKind;

export interface Fault {
  readonly kind: FaultKind;
  readonly target: Target;
  /** For cuts. */
  readonly direction: Direction;
  /** When it begins, in ms; for the first fault of nodes, counted from the call for the cutover. */
  readonly atMs: number;
  readonly durationMs: number;
}

const nodeKinds: readonly FaultKind[] = [
  'kill-node',
  'kill-node',
  'pause-node',
  'pause-node',
  'cut-node-from-etcd',
  'cut-node-from-etcd',
  'cut-node-from-member',
  'cut-node-from-peers',
  'cut-node',
  'lossy-node',
];

const memberKinds: readonly FaultKind[] = [
  'kill-member',
  'pause-member',
  'cut-member',
  'cut-member-from-all',
  'lossy-member',
];

const processKinds: ReadonlySet<FaultKind> = new Set<ProcessFaultKind>([
  'kill-node',
  'pause-node',
  'kill-member',
  'pause-member',
]);

export interface PlanOptions {
  readonly random: Random;
  readonly canCut: boolean;
  /** Faults begin within this time. */
  readonly windowMs: number;
}

/**
 * Two tracks, one of nodes and one of members, so that at most one of each is faulty at a time and a
 * majority of etcd and two nodes are there throughout. The first fault of the nodes is near the
 * moment at which the cutover is asked for, in half of the plans just after it.
 */
export function planFaults({ random, canCut, windowMs }: PlanOptions): readonly Fault[] {
  const possible = (kinds: readonly FaultKind[]): readonly FaultKind[] =>
    kinds.filter((kind) => canCut || processKinds.has(kind));
  const isJustAfter = random.chance(0.5);
  const first = isJustAfter ? random.between(0, 400) : random.between(-1_500, 1_500);
  const nodes = track(random, possible(nodeKinds), {
    firstMs: first,
    untilMs: windowMs,
    gapMs: 3_000,
  });
  const members = random.chance(0.6)
    ? track(random, possible(memberKinds), {
        firstMs: random.between(-1_000, windowMs / 2),
        untilMs: windowMs,
        gapMs: 6_000,
      })
    : [];
  return [...nodes, ...members].sort((a, b) => a.atMs - b.atMs);
}

/** One track of leaders, and now and then another node, that are killed or paused. */
export function planLeaderFaults({
  random,
  windowMs,
}: Pick<PlanOptions, 'random' | 'windowMs'>): readonly Fault[] {
  const times = { firstMs: random.between(0, 2_000), untilMs: windowMs, gapMs: 4_000 };
  const targets: readonly Target[] = ['control', 'control', 'busiest', 0, 1, 2];
  return track(random, ['kill-node', 'pause-node'], times, () => random.pick(targets));
}

function track(
  random: Random,
  kinds: readonly FaultKind[],
  { firstMs, untilMs, gapMs }: { firstMs: number; untilMs: number; gapMs: number },
  target: () => Target = () => (random.chance(0.5) ? 'busiest' : random.pick<Target>([0, 1, 2])),
): readonly Fault[] {
  const faults: Fault[] = [];
  for (let atMs = firstMs; atMs < untilMs; ) {
    const kind = random.pick(kinds);
    const fault: Fault = {
      kind,
      target: target(),
      direction: random.pick<Direction>(['in', 'out', 'both', 'both']),
      atMs,
      durationMs: durationOf(kind, random),
    };
    faults.push(fault);
    atMs += fault.durationMs + random.between(gapMs / 2, 1.5 * gapMs);
  }
  return faults;
}

/** Shorter than a lease lasts, longer, and now and then much longer: of a pause most of all. */
function durationOf(kind: FaultKind, random: Random): number {
  const share = random.fraction();
  const isPause = kind === 'pause-node' || kind === 'pause-member';
  if (isPause && share < 0.3) return random.between(6_000, 15_000);
  if (share < 0.1) return random.between(6_000, 9_000);
  return share < 0.5 ? random.between(3_500, 6_000) : random.between(500, 3_000);
}
