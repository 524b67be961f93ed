/**
 * Applies entries to a store and flushes them: in the clear at first, then its rows are sealed and
 * the file is rewritten without what was in the clear.
 */
import { KvStateMachine } from '@raftseal/kv';
import { applyThrough, rowSeal, STORE_SHARD } from '../subjects/store-rows.ts';
import { type ProgramOptions, programOptions, runProgram, Teller } from './say.ts';

const options = programOptions<ProgramOptions>();
const { directory } = options;
const teller = new Teller(options);
const STEP = 15n;
const NEVER_MS = 3_600_000;
const POLL_MS = 5;
const POLLS_MAX = 100;
let machine: KvStateMachine | undefined;

async function flush(store: KvStateMachine): Promise<void> {
  const index = store.appliedIndex + STEP;
  await teller.tell(`flush ${index}`, async () => {
    applyThrough(store, index);
    await store.flush();
  });
}

/** Waits until nothing in the clear is left in the file. @throws what made the shard fail */
async function rewritten(store: KvStateMachine): Promise<void> {
  for (let polls = 0; store.statistics().cleartextLeft && polls < POLLS_MAX; polls++) {
    await store.flush();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Told only where it is done: where a copy is refused, the shard goes on as it is. */
async function rewrite(store: KvStateMachine): Promise<void> {
  await rewritten(store);
  if (!store.statistics().cleartextLeft) await teller.tell('rewrite 0', async () => undefined);
}

await runProgram(
  async () => {
    const store = await KvStateMachine.open({
      directory,
      shardId: STORE_SHARD,
      seal: 'cleartext',
      checkpointIdleMs: NEVER_MS,
      checkpointAgeMs: NEVER_MS,
    });
    machine = store;
    await flush(store);
    store.sealRows(rowSeal(2));
    await flush(store);
    await rewrite(store);
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
