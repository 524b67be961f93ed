import { codeOf, type RaftsealError } from '@raftseal/interface';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { precheck, transition, unwrapWith } from '../src/index.ts';
import { type KeyPool, keyPool, lives } from './commands.ts';
import { ReferenceModel } from './reference-model.ts';
import { interleave, type Logs, logs, placed, Replica, type Step } from './replica.ts';
import { Disk, kek, localState, Process, sharedState } from './world.ts';

let pool: KeyPool;

beforeAll(async () => {
  pool = await keyPool();
});

function expectLikeModel(replica: Replica, model: ReferenceModel): void {
  const { state } = replica;
  expect(state.activeDekId).toEqual(model.active);
  expect(new Set(state.keys.keys())).toEqual(new Set(model.keys.keys()));
  expect([...state.writers]).toEqual(model.writers.map((nodeId, at) => [at + 1, nodeId]));
  expect(state.appliedIndex).toEqual(model.applied);
  expect(state.cutoverIndex).toEqual(model.cutover);
  expect(state.storageIndex).toBe(model.storageAt);
  expect(state.sealedOnlyIndex).toBe(model.sealedOnlyAt);
  expect([...state.retired].map(([dekId, { purpose }]) => [dekId, purpose])).toEqual([
    ...model.retired,
  ]);
  expect([...state.backups].map(([id, { dekIds }]) => [id, dekIds.join()])).toEqual([
    ...model.backups,
  ]);
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
    const all = lives(pool, { foreign: true, maxLength: 40 });
    for (const life of fc.sample(all, { numRuns: 3000, seed: 1 })) {
      const model = new ReferenceModel();
      for (const { shardId, index, command } of placed(life)) {
        const answer = `${command.entry.kind} ${model.apply(shardId, index, command.entry)}`;
        seen.set(answer, (seen.get(answer) ?? 0) + 1);
      }
    }
    const kinds = [
      'bootstrap',
      'register',
      'rotate-dek',
      'enable-storage',
      'enable-raft',
      'rewrap-deks',
      'retire-dek',
      'enable-sealed-only',
      'register-backup',
      'forget-backup',
    ];
    for (const kind of kinds) {
      for (const answer of ['applied', 'no-op', 'fatal']) {
        // A backup that is not there is forgotten.
        if (kind === 'forget-backup' && answer === 'fatal') continue;
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

describe('replicas', () => {
  const choices = fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 30 });
  const agree = (step: Step): fc.IProperty<[Logs, number[], number[]]> =>
    fc.property(logs(pool), choices, choices, (all, some, others) => {
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
            const repetition = /ALREADY_BOOTSTRAPPED|DEK_CONFLICT|BACKUP_CONFLICT/.test(refusal);
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
    let proposed = 0;
    await fc.assert(
      fc.asyncProperty(lives(pool, { foreign: true, maxLength: 20 }), async (life) => {
        const disk = new Disk();
        const process = await Process.start(disk, { controlWaitMs: 0 });
        const replica = new Replica();
        for (const { shardId, index, command } of placed(life)) {
          const { state, registry } = process;
          const parts = { state, registry, unwrapDek: unwrapWith([kek]) };
          if (!(await isLetThrough(parts, { shardId, entry: command.entry }))) continue;
          await process.apply(shardId, index, command.entry);
          replica.apply(shardId, index, command.entry);
          proposed += 1;
        }
        const restarted = await Process.start(disk);
        expect(localState(restarted.state)).toEqual(localState(replica.state));
      }),
      { numRuns: 100 },
    );
    expect(proposed).toBeGreaterThan(100);
  });
});

async function isLetThrough(...proposal: Parameters<typeof precheck>): Promise<boolean> {
  return await precheck(...proposal).then(
    () => true,
    () => false,
  );
}
