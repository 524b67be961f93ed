/**
 * A process that applies entries until it is killed, with a checkpoint always on its way. It prints
 * each durable index it has been promised, and the code of what ends it.
 */
import { codeOf } from '@raftseal/interface';
import { KvStateMachine } from '../../src/index.ts';
import { entryOf } from './entries.ts';
import { rowSeal } from './seal.ts';

function print(line: string): void {
  process.stdout.write(`${line}\n`, () => process.exit(1));
}

function codeOfThrown(call: () => void): string | undefined {
  try {
    call();
    return 'nothing';
  } catch (error) {
    return codeOf(error);
  }
}

async function main(directory: string, mode: string, nonceEpoch: number): Promise<void> {
  const machine = await KvStateMachine.open({
    directory,
    shardId: 1,
    seal: mode === 'sealed' ? rowSeal(1, nonceEpoch) : 'cleartext',
    cacheBytesMax: 30_000,
    dirtyBytesMax: 20_000,
    checkpointIdleMs: 100,
    onFatal: (error) => {
      const index = machine.appliedIndex + 1n;
      const applied = codeOfThrown(() => machine.apply(entryOf(index)));
      machine.flush().then(
        () => print('flushed'),
        (again: unknown) => print(`failed ${codeOf(error)}, then ${applied}, ${codeOf(again)}`),
      );
    },
  });
  process.stdout.write(`open ${machine.durableIndex}\n`);
  let printed = machine.durableIndex;
  for (let index = machine.durableIndex + 1n; ; index++) {
    machine.apply(entryOf(index));
    if (machine.durableIndex > printed) {
      printed = machine.durableIndex;
      process.stdout.write(`durable ${printed}\n`);
    }
    await new Promise((resolve) => setImmediate(resolve));
    if (machine.pressure > 0.5) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const [directory = '', mode = '', nonceEpoch = ''] = process.argv.slice(2);
main(directory, mode, Number(nonceEpoch)).catch((error: unknown) => {
  // The end that `onFatal` tells of throws here too.
  if (codeOf(error) !== 'RAFTSEAL_KV_COMMIT_FAILED')
    print(`failed ${codeOf(error) ?? String(error)}`);
});
