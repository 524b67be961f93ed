/** Checkpoints of a store, and its rewriting: what is on disk is the state of exactly one index. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KvStateMachine } from '@raftseal/kv';
import type { ProgramOptions } from '../children/say.ts';
import { highest, type Told } from '../children/told.ts';
import { applyThrough, CLEARTEXT_MARK, rowSeal, STORE_SHARD, stateProblems } from './store-rows.ts';
import { childCommand, problemsOf, type Subject } from './subject.ts';

const PREPARED = 20n;

export const storeSubject: Subject = {
  name: 'store',
  async prepare(directory) {
    const machine = await KvStateMachine.open({
      directory,
      shardId: STORE_SHARD,
      seal: 'cleartext',
    });
    applyThrough(machine, PREPARED);
    await machine.flush();
    await machine.close();
  },
  command: (directory, plant) => childCommand<ProgramOptions>('store', { directory, plant }),
  async problems(directory, told) {
    const problems = [...(await storeProblems(directory, told, PREPARED))];
    if (told.acknowledged.includes('rewrite 0')) {
      const bytes = await readFile(join(directory, 'data.mdb'));
      if (bytes.includes(CLEARTEXT_MARK)) problems.push('the rewritten file holds cleartext');
    }
    return problems;
  },
  plants: { early: 'kill', swallow: 'error' },
  mayGoOnAfter: () => false,
};

/** @param atLeast the index that was durable before the program began */
export function storeProblems(
  directory: string,
  told: Told,
  atLeast: bigint,
): Promise<readonly string[]> {
  return problemsOf(async () => {
    const machine = await KvStateMachine.open({
      directory,
      shardId: STORE_SHARD,
      seal: rowSeal(3),
      holdCheckpoints: true,
    });
    try {
      const durable = machine.durableIndex;
      const low = highest(told.acknowledged, 'flush', atLeast);
      const high = highest(told.started, 'flush', atLeast);
      const problems = stateProblems(machine);
      if (durable < low || durable > high) {
        problems.push(`the durable index is ${durable} where ${low} to ${high} may be`);
      }
      machine.startCheckpoints();
      applyThrough(machine, durable + 5n);
      await machine.flush();
      return [...problems, ...stateProblems(machine)];
    } finally {
      await machine.close();
    }
  });
}
