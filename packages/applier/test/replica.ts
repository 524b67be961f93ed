/** Replicas without a runner, and the logs of a cluster to apply on them in any order. */
import { type KeyState, RaftsealError } from '@raftseal/interface';
import fc from 'fast-check';
import { type KeyLifecycleEntry, MemoryWriterRegistry, transition } from '../src/index.ts';
import { type Command, type KeyPool, lives, otherShards } from './commands.ts';
import type { Answer } from './reference-model.ts';
import { cutoverRequest, describeRow, emptyState, marker } from './world.ts';

export type Step = typeof transition;

/** A replica without a runner: rows are stored, other effects are not needed. */
export class Replica {
  state: KeyState;
  readonly registry = new MemoryWriterRegistry();
  readonly haltedAt = new Map<number, bigint>();
  readonly #step: Step;

  constructor(nodeId = 'a', step: Step = transition) {
    this.state = emptyState(nodeId);
    this.#step = step;
  }

  apply(shardId: number, index: bigint, entry: KeyLifecycleEntry): Answer {
    const before = this.state;
    try {
      const { registry } = this;
      const { state, effects, outcome } = this.#step(before, { shardId, index, registry }, entry);
      for (const effect of effects) {
        if (effect.kind === 'writer-rows') void this.registry.put(effect.rows);
        if (effect.kind === 'unload-deks') void this.registry.forget(effect.dekIds);
      }
      this.state = state;
      return outcome.kind;
    } catch (error) {
      if (!(error instanceof RaftsealError) || !error.fatal) throw error;
      this.haltedAt.set(shardId, index);
      return 'fatal';
    }
  }

  get rows(): string[] {
    return this.registry.rows().map(describeRow).sort();
  }
}

/** Commands with their indexes. */
export function placed(
  life: readonly Command[],
): { shardId: number; index: bigint; command: Command }[] {
  const last = new Map<number, bigint>();
  return life.map((command) => {
    const { shardId, gap } = command;
    const index = (last.get(shardId) ?? 0n) + gap;
    last.set(shardId, index);
    return { shardId, index, command };
  });
}

/** The logs of a cluster as leaders write them: markers name what their control shard has. */
export interface Logs {
  readonly control: readonly { index: bigint; entry: KeyLifecycleEntry }[];
  readonly markers: ReadonlyMap<number, readonly KeyLifecycleEntry[]>;
}

export const logs = (pool: KeyPool): fc.Arbitrary<Logs> =>
  fc
    .tuple(
      lives(pool, { foreign: false, maxLength: 25 }),
      fc.array(fc.tuple(fc.constantFrom(...otherShards), fc.nat()), { maxLength: 6 }),
    )
    .map(([life, markerSeeds]) => {
      const leader = new Replica();
      const request = { shardId: 0, gap: 1n, entry: cutoverRequest(2, ...otherShards) };
      const [bootstrap, ...rest] = life;
      const whole = bootstrap === undefined ? [] : [bootstrap, request, ...rest];
      const control = placed(whole.filter(({ shardId }) => shardId === 0))
        .filter(({ index, command }) => leader.apply(0, index, command.entry) !== 'fatal')
        .map(({ index, command }) => ({ index, entry: command.entry }));
      const markers = new Map<number, KeyLifecycleEntry[]>();
      for (const [shardId, seed] of markerSeeds) {
        const list = markers.get(shardId) ?? [];
        const at = seed % Math.max(1, control.length);
        const leaderThen = new Replica();
        for (const { index, entry } of control.slice(0, at + 1)) leaderThen.apply(0, index, entry);
        const { activeDekId, cutoverIntent, appliedIndex } = leaderThen.state;
        if (cutoverIntent === undefined) continue;
        list.push(marker(activeDekId.raft, appliedIndex.get(0) ?? 0n));
        markers.set(shardId, list);
      }
      return { control, markers };
    });

/** Applies all logs in one of the orders that the wait for the control shard allows. */
export function interleave(
  replica: Replica,
  { control, markers }: Logs,
  choices: readonly number[],
): void {
  const next = { control: 0, choice: 0 };
  const at = new Map([...markers.keys()].map((shardId) => [shardId, 0]));
  const stepControl = (): boolean => {
    const placedEntry = control[next.control++];
    if (placedEntry === undefined) return false;
    replica.apply(0, placedEntry.index, placedEntry.entry);
    return true;
  };
  for (;;) {
    const open = [...markers].filter(([shardId, list]) => (at.get(shardId) ?? 0) < list.length);
    const choice = choices[next.choice++ % choices.length] ?? 0;
    const picked = open[choice % (open.length + 1)];
    if (picked === undefined) {
      if (stepControl()) continue;
      if (open.length === 0) return;
      continue;
    }
    const [shardId, list] = picked;
    const position = at.get(shardId) ?? 0;
    const entry = list[position];
    at.set(shardId, position + 1);
    if (entry?.kind !== 'enable-raft') continue;
    while ((replica.state.appliedIndex.get(0) ?? 0n) < entry.controlIndex && stepControl());
    replica.apply(shardId, BigInt(position + 1), entry);
  }
}
