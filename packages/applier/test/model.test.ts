import type { KeyState } from '@raftseal/interface';
import { codeOf, RaftsealError } from '@raftseal/interface';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type KeyLifecycleEntry,
  MemoryWriterRegistry,
  precheck,
  transition,
  unwrapWith,
} from '../src/index.ts';
import { type Command, type KeyPool, keyPool, lives, otherShards } from './commands.ts';
import { type Answer, ReferenceModel } from './reference-model.ts';
import {
  cutoverRequest,
  Disk,
  describeRow,
  emptyState,
  kek,
  localState,
  marker,
  Process,
  sharedState,
} from './world.ts';

let pool: KeyPool;

beforeAll(async () => {
  pool = await keyPool();
});

type Step = typeof transition;

/** A replica without a runner: rows are stored, other effects are not needed. */
class Replica {
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
function placed(life: readonly Command[]): { shardId: number; index: bigint; command: Command }[] {
  const last = new Map<number, bigint>();
  return life.map((command) => {
    const { shardId, gap } = command;
    const index = (last.get(shardId) ?? 0n) + gap;
    last.set(shardId, index);
    return { shardId, index, command };
  });
}

function expectLikeModel(replica: Replica, model: ReferenceModel): void {
  const { state } = replica;
  expect(state.activeDekId).toEqual(model.active);
  expect(new Set(state.keys.keys())).toEqual(new Set(model.keys.keys()));
  expect([...state.writers]).toEqual(model.writers.map((nodeId, at) => [at + 1, nodeId]));
  expect(state.appliedIndex).toEqual(model.applied);
  expect(state.cutoverIndex).toEqual(model.cutover);
  expect(state.storageIndex).toBe(model.storageAt);
  expect(state.cutoverIntent?.controlIndex).toBe(model.requestAt);
  const epochs = replica.registry
    .rows()
    .map(({ dekId, writerId, lastEpoch }) => [
      `${dekId}/${state.writers.get(writerId)}`,
      lastEpoch,
    ]);
  expect(new Map(epochs as [string, number][])).toEqual(model.epochs);
}

describe('random lives of a cluster', () => {
  it('A1: follow the reference model, entry by entry', () => {
    fc.assert(
      fc.property(lives(pool, { foreign: true, maxLength: 40 }), (life) => {
        const replica = new Replica();
        const model = new ReferenceModel();
        for (const { shardId, index, command } of placed(life)) {
          const answer = replica.apply(shardId, index, command.entry);
          expect(answer).toBe(model.apply(shardId, index, command.entry));
        }
        expectLikeModel(replica, model);
      }),
      { numRuns: 300 },
    );
  });

  it('reach every answer of the model', () => {
    const seen = new Map<string, number>();
    for (const life of fc.sample(lives(pool, { foreign: true, maxLength: 40 }), 300)) {
      const model = new ReferenceModel();
      for (const { shardId, index, command } of placed(life)) {
        const answer = `${command.entry.kind} ${model.apply(shardId, index, command.entry)}`;
        seen.set(answer, (seen.get(answer) ?? 0) + 1);
      }
    }
    for (const kind of ['bootstrap', 'register', 'rotate-dek', 'enable-storage', 'enable-raft']) {
      for (const answer of ['applied', 'no-op', 'fatal']) {
        expect(seen.get(`${kind} ${answer}`) ?? 0, `${kind} ${answer}`).toBeGreaterThan(5);
      }
    }
  });

  it('invariant 9: end in the same key state when any prefix is replayed twice', () => {
    fc.assert(
      fc.property(
        lives(pool, { foreign: true, maxLength: 30 }),
        fc.array(fc.nat(), { minLength: 2, maxLength: 2 }),
        (life, prefixes) => {
          const entries = placed(life);
          const once = new Replica();
          const good = entries.filter(
            ({ shardId, index, command }) => once.apply(shardId, index, command.entry) !== 'fatal',
          );
          const again = new Replica();
          const run = (list: typeof entries): void => {
            for (const { shardId, index, command } of list) {
              again.apply(shardId, index, command.entry);
            }
          };
          run(good);
          for (const prefix of prefixes) {
            const length = prefix % (good.length + 1);
            run(good.slice(0, length));
            run(good.slice(0, length));
          }
          expect(again.haltedAt.size).toBe(0);
          expect(again.state).toEqual(once.state);
          expect(again.rows).toEqual(once.rows);
        },
      ),
      { numRuns: 200 },
    );
  });
});

/** The logs of a cluster as leaders write them: markers name what their control shard has. */
interface Logs {
  readonly control: readonly { index: bigint; entry: KeyLifecycleEntry }[];
  readonly markers: ReadonlyMap<number, readonly KeyLifecycleEntry[]>;
}

const logs = (): fc.Arbitrary<Logs> =>
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
function interleave(
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

describe('replicas', () => {
  const choices = fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 30 });
  const agree = (step: Step): fc.IProperty<[Logs, number[], number[]]> =>
    fc.property(logs(), choices, choices, (all, some, others) => {
      const [a, b] = [new Replica('a', step), new Replica('b', step)];
      interleave(a, all, [...some, 0, 1, 2]);
      interleave(b, all, [...others, 0, 1, 2]);
      expect(sharedState(a.state)).toEqual(sharedState(b.state));
      expect(a.rows).toEqual(b.rows);
      expect([...a.haltedAt.keys()]).toEqual([]);
    });

  it('invariant 9: reach the same key state in whichever order the shards get on', () => {
    fc.assert(agree(transition), { numRuns: 200 });
  });

  it('canary: do not, if a marker is compared with the DEK that is active here', () => {
    const staleEverywhere: Step = (state, context, entry) => {
      const stale =
        entry.kind === 'enable-raft' &&
        !state.cutoverIndex.has(context.shardId) &&
        entry.dekId !== state.activeDekId.raft;
      if (!stale) return transition(state, context, entry);
      const appliedIndex = new Map(state.appliedIndex).set(context.shardId, context.index);
      const outcome = { kind: 'no-op', reason: 'stale-dek' } as const;
      return { state: { ...state, appliedIndex }, effects: [], outcome };
    };
    expect(fc.check(agree(staleEverywhere), { numRuns: 2000 }).failed).toBe(true);
  });
});

describe('invariant 11: what precheck lets through', () => {
  it('HAZARD AREG-18: is never fatal on apply, effects included', async () => {
    let proposed = 0;
    await fc.assert(
      fc.asyncProperty(lives(pool, { foreign: true, maxLength: 25 }), async (life) => {
        const process = await Process.start(new Disk());
        const indexes = new Map<number, bigint>();
        for (const { shardId, gap, entry } of life) {
          const { state } = process;
          const parts = { state, registry: process.registry, unwrapDek: unwrapWith([kek]) };
          try {
            const { outcome, body } = await precheck(parts, { shardId, entry });
            const index = (indexes.get(shardId) ?? 0n) + gap;
            indexes.set(shardId, index);
            expect(await process.lifecycle.apply({ shardId, index, body })).toEqual(outcome);
            proposed += 1;
          } catch (error) {
            expect(error).toMatchObject({ fatal: false });
            expect(process.state).toBe(state);
          }
        }
      }),
      { numRuns: 60 },
    );
    expect(proposed).toBeGreaterThan(100);
  });

  it('refuses every entry that would be fatal, with the code of the halt', async () => {
    const disagreements: string[] = [];
    await fc.assert(
      fc.asyncProperty(lives(pool, { foreign: false, maxLength: 25 }), async (life) => {
        const replica = new Replica();
        for (const { shardId, index, command } of placed(life)) {
          const { state, registry } = replica;
          const { entry } = command;
          let halt: string | undefined;
          try {
            transition(state, { shardId, index, registry }, entry);
          } catch (error) {
            halt = codeOf(error);
          }
          if (halt !== undefined) {
            const parts = { state, registry, unwrapDek: unwrapWith([kek]) };
            const refusal = await precheck(parts, { shardId, entry }).then(
              () => 'let through',
              (error: RaftsealError) => (error.fatal ? 'fatal' : error.code),
            );
            const repetition = /ALREADY_BOOTSTRAPPED|DEK_CONFLICT/.test(refusal);
            if (refusal !== halt && !repetition)
              disagreements.push(`${entry.kind}: ${halt}, ${refusal}`);
          }
          replica.apply(shardId, index, entry);
        }
      }),
      { numRuns: 100 },
    );
    expect(disagreements).toEqual([]);
  });

  it('keeps what a process has seen: a replica of the same life has the same state', async () => {
    await fc.assert(
      fc.asyncProperty(lives(pool, { foreign: false, maxLength: 20 }), async (life) => {
        const disk = new Disk();
        const process = await Process.start(disk, { controlWaitMs: 0 });
        const replica = new Replica();
        for (const { shardId, index, command } of placed(life)) {
          if (replica.apply(shardId, index, command.entry) === 'fatal') break;
          await process.apply(shardId, index, command.entry);
        }
        const restarted = await Process.start(disk);
        expect(localState(restarted.state)).toEqual(localState(replica.state));
      }),
      { numRuns: 40 },
    );
  });
});
