/** Installs a snapshot from a file in a store that has a state of its own, and goes on from there. */
import { createReadStream } from 'node:fs';
import { KvStateMachine } from '@raftseal/kv';
import { applyThrough, rowSeal, STORE_SHARD, timeOf } from '../subjects/store-rows.ts';
import { type ProgramOptions, programOptions, runProgram, Teller } from './say.ts';

export interface InstallProgramOptions extends ProgramOptions {
  readonly snapshotPath: string;
  readonly index: number;
}

const options = programOptions<InstallProgramOptions>();
const { directory, snapshotPath } = options;
const index = BigInt(options.index);
const teller = new Teller(options);
let machine: KvStateMachine | undefined;

/** Of the state that is in use now. */
async function flush(store: KvStateMachine): Promise<void> {
  const next = store.appliedIndex + 1n;
  await teller.tell(`flush ${next}`, async () => {
    applyThrough(store, next);
    await store.flush();
  });
}

await runProgram(
  async () => {
    const store = await KvStateMachine.open({ directory, shardId: STORE_SHARD, seal: rowSeal(2) });
    machine = store;
    const expected = { index, timestampMs: timeOf(index), mustBeSealed: true };
    const chunks = createReadStream(snapshotPath);
    await teller.tell(`flush ${index}`, () => store.install(chunks, expected));
    await flush(store);
    await store.close();
  },
  async () => {
    if (machine === undefined) return;
    try {
      await flush(machine);
    } finally {
      await machine.close();
    }
  },
);
