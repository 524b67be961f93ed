import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type StateMachineFixture, stateMachineSuite } from '@raftseal/compliance';
import type { Reply, RowSeal, StateMachine } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { encodeCommand, KvStateMachine } from '../src/index.ts';
import { anyCommand } from './support/arbitraries.ts';
import { rowSeal } from './support/seal.ts';
import { stateOf } from './support/shard.ts';

const ENTRIES = 400;
const entries = fc.sample(fc.array(anyCommand, { maxLength: 12 }), { numRuns: ENTRIES, seed: 7 });

async function create(seal: RowSeal | 'cleartext'): Promise<StateMachineFixture<Reply>> {
  const machines: KvStateMachine[] = [];
  const directory = mkdtempSync(join(tmpdir(), 'raftseal-kv-'));
  const open = async (): Promise<KvStateMachine> => {
    const machine = await KvStateMachine.open({
      directory: join(directory, `${machines.length}`),
      shardId: 1,
      seal,
      cacheBytesMax: 1_000,
      checkpointIdleMs: 3_600_000,
    });
    machines.push(machine);
    return machine;
  };
  return {
    machine: await open(),
    state: (machine: StateMachine<Reply>) => stateOf(machine as KvStateMachine, Date.now()),
    crash: async () => {
      const [left, copy] = [machines.length - 1, machines.length];
      cpSync(join(directory, `${left}`), join(directory, `${copy}`), { recursive: true });
      return open();
    },
    dispose: async () => {
      for (const machine of machines) await machine.close().catch(() => undefined);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const runner = { describe, it };
const commands = (index: bigint): Buffer[] =>
  (entries[Number(index) - 1] ?? []).map((args) => encodeCommand(args));
const malformed = Buffer.from([200, 0, 0, 0, 0]);

stateMachineSuite(runner, {
  name: 'kv, rows in the clear',
  create: () => create('cleartext'),
  commands,
  malformed,
});
stateMachineSuite(runner, {
  name: 'kv, rows sealed',
  create: () => create(rowSeal()),
  commands,
  malformed,
});
