/**
 * Leadership is lost at each step of a cutover, in each way, while clients write. The successor must
 * append nothing in the clear above the marker, lose no acknowledged write, and finish the cutover.
 */
import { describe, expect, it } from 'vitest';
import { temporaryDirectory } from '../temporary-directory.ts';
import { findings } from './failover-checks.ts';
import {
  type FailoverOptions,
  FailoverWorld,
  type Fault,
  faults,
  Halted,
} from './failover-world.ts';
import { type CutoverStep, cutoverSteps, Trap } from './trap.ts';

interface Failover extends Omit<FailoverOptions, 'directory'> {
  readonly step: CutoverStep;
  readonly fault: Fault;
  readonly shardId: number;
}

const CLIENTS = 6;

interface Ending {
  /** What is wrong; nothing where all is well. */
  readonly found: readonly string[];
  /** Whether the marker stood in the log when the leader was lost. */
  readonly markerLanded: boolean;
}

async function failover({ step, fault, shardId, ...options }: Failover): Promise<Ending> {
  const world = await FailoverWorld.open({ ...options, directory: temporaryDirectory() });
  const writing = new AbortController();
  const clients = Array.from({ length: CLIENTS }, (_, at) => client(world, at, writing.signal));
  try {
    await Promise.all(world.shardIds.map((each) => world.writeUntilDone(each)));
    const trap = new Trap({ shardId, step }, () => world.lose(fault, shardId));
    world.trap = trap;
    const requested = world.requestCutover();
    await world.until(`the cutover comes to: ${step}`, () => trap.sprung);
    await serveByTheSuccessor(world, trap);
    await world.recover(fault, shardId);
    await requested;
    await world.until('every shard is cut over everywhere', () => isCutOver(world));
    writing.abort();
    await Promise.all(clients);
    await Promise.all(world.shardIds.map((each) => world.writeUntilDone(each)));
    await world.until('every replica has the whole log', () => isLevel(world));
  } catch (error) {
    if (!(error instanceof Halted)) throw error;
  } finally {
    writing.abort();
    await world.close();
  }
  return { found: findings(world), markerLanded: world.markerLanded };
}

/** The successor answers writes before the lost leader is back; not before it has the marker. */
async function serveByTheSuccessor(world: FailoverWorld, { shardId, step }: Trap): Promise<void> {
  const served = world.writeUntilDone(shardId);
  served.catch(() => undefined);
  if (step === 'marker committed, not applied') {
    const { length } = world.cluster.log(shardId);
    for (let turn = 0; turn < 100; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      // Node `a` has the marker: where it is elected again, it may serve.
      const successor = world.cluster.leader(shardId)?.nodeId !== 'a';
      if (!successor || world.cluster.log(shardId).length === length) continue;
      world.notes.push('invariant 4: the successor served before it had applied the marker');
      break;
    }
    world.release(shardId);
  }
  await served;
}

/** Writes to shard after shard; to the leader mostly, now and then to any node. */
async function client(world: FailoverWorld, at: number, signal: AbortSignal): Promise<void> {
  for (let turn = at; !signal.aborted && !world.isClosed; turn++) {
    const shardId = turn % world.shardIds.length;
    const astray = turn % 7 === 6 ? world.processes[turn % world.processes.length] : undefined;
    await world.write(shardId, `key${shardId}`, astray?.nodeId);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function isCutOver({ processes, shardIds }: FailoverWorld): boolean {
  return processes.every(({ lifecycle }) =>
    shardIds.every((shardId) => lifecycle.state.cutoverIndex.has(shardId)),
  );
}

function isLevel({ processes, shardIds, cluster }: FailoverWorld): boolean {
  return processes.every(({ groups }) =>
    shardIds.every((shardId) => {
      return groups.get(shardId)?.appliedIndex === BigInt(cluster.log(shardId).length);
    }),
  );
}

for (const shardId of [0, 1]) {
  const name = shardId === 0 ? 'the control shard' : 'another shard';
  describe(`E2E-05, HAZARD PROP-18: the leader of ${name} is lost in its cutover`, () => {
    for (const step of cutoverSteps) {
      for (const fault of faults) {
        it(`${step}: ${fault}`, async () => {
          expect((await failover({ step, fault, shardId })).found).toEqual([]);
        });
      }
    }

    for (const fault of ['crash', 'partition'] as const) {
      it(`marker in transit, whether it lands or not: ${fault}`, async () => {
        const landed = new Set<boolean>();
        for (let seed = 1; seed <= 6; seed++) {
          const ending = await failover({ step: 'marker in transit', fault, shardId, seed });
          expect(ending.found).toEqual([]);
          landed.add(ending.markerLanded);
        }
        expect(landed).toEqual(new Set([true, false]));
      });
    }
  });
}

describe('HAZARD PROP-18: the fence', () => {
  const unseen = { step: 'marker committed, not applied', shardId: 1 } as const;

  for (const fault of faults) {
    it(`holds by its readiness half alone: ${fault}`, async () => {
      const plantedFaults = ['ignoreExpectedIndex'] as const;
      expect((await failover({ ...unseen, fault, plantedFaults })).found).toEqual([]);
    });

    it(`holds by its expected index alone: ${fault}`, async () => {
      const plantedFaults = ['misreportHead'] as const;
      expect((await failover({ ...unseen, fault, plantedFaults })).found).toEqual([]);
    });

    it(`is needed, and the same checks find cleartext where both halves are off: ${fault}`, async () => {
      const plantedFaults = ['misreportHead', 'ignoreExpectedIndex'] as const;
      const { found } = await failover({ ...unseen, fault, plantedFaults });
      expect(found.join('\n')).toMatch(/^invariant 1: entry \d+ of shard 1/m);
    });
  }
});

describe('invariant 2: the term', () => {
  it('is needed, and the same checks find acknowledged writes lost where it is ignored', async () => {
    const plantedFaults = ['ignoreTerm', 'ignoreExpectedIndex'] as const;
    const fault = 'pause and resume';
    const { found } = await failover({ step: 'gate closed', fault, shardId: 1, plantedFaults });
    expect(found.join('\n')).toMatch(/^invariant 2: canary-\d+/m);
  });
});

describe('invariant 4: the installer', () => {
  it('is needed, and the same checks find cleartext where it does nothing', async () => {
    const absent = { step: 'drained', fault: 'deposal', shardId: 1, installs: false } as const;
    const { found } = await failover(absent);
    expect(found.join('\n')).toMatch(/^invariant 1: entry \d+ of shard 1/m);
  });
});
