/**
 * A process that installs a snapshot from a file into a shard, and kills itself before or after one
 * of the file system calls that the install makes on this thread. It prints how many there were
 * where it survives, or the code of what ends the install, and then goes on with the shard.
 */
import fs, { createReadStream } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { codeOf } from '@raftseal/interface';
import { KvStateMachine } from '../../src/index.ts';
import { batchOf } from './batch.ts';
import { rowSeal } from './seal.ts';

const calls: string[] = ['chmodSync', 'fsyncSync', 'mkdirSync', 'renameSync', 'rmSync'];

/** @returns how many calls there have been. */
function killAt(step: number): () => number {
  let steps = 0;
  const point = (): void => {
    if (steps++ === step) process.kill(process.pid, 'SIGKILL');
  };
  for (const name of calls) {
    const call: (...args: unknown[]) => unknown = Reflect.get(fs, name);
    Reflect.set(fs, name, (...args: unknown[]) => {
      point();
      const result = call(...args);
      point();
      return result;
    });
  }
  syncBuiltinESMExports();
  return () => steps;
}

async function main(
  directory: string,
  file: string,
  expected: { index: bigint; timestampMs: number },
  step: number,
): Promise<void> {
  const machine = await KvStateMachine.open({
    directory,
    shardId: 3,
    seal: rowSeal(1, 2),
    checkpointIdleMs: 3_600_000,
  });
  process.stdout.write('open\n');
  const steps = killAt(step);
  const outcome = await machine.install(createReadStream(file), expected).then(
    () => `installed ${steps()}`,
    (error: unknown) => `failed ${codeOf(error)}`,
  );
  machine.apply(batchOf(machine.appliedIndex + 1n, expected.timestampMs, ['set', 'after', '1']));
  await machine.flush();
  await machine.close();
  process.stdout.write(`${outcome}\n`);
}

const [directory = '', file = '', index = '', timestampMs = '', step = ''] = process.argv.slice(2);
const expected = { index: BigInt(index), timestampMs: Number(timestampMs) };
main(directory, file, expected, Number(step)).catch((error: unknown) => {
  process.stdout.write(`ended by ${codeOf(error)}\n`, () => process.exit(1));
});
