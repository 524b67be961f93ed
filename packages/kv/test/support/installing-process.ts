/**
 * A process that installs a snapshot from a file into a shard. At one step it kills itself, or has a
 * file system call fail: a step is the moment before or after one of those that the install makes
 * on this thread. It prints how many there were, or the code of what ends the install, and whether
 * the shard goes on.
 */
import fs, { createReadStream } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { codeOf } from '@raftseal/interface';
import { KvStateMachine } from '../../src/index.ts';
import { batchOf } from './batch.ts';
import { rowSeal } from './seal.ts';

const calls: string[] = ['chmodSync', 'fsyncSync', 'mkdirSync', 'renameSync', 'rmSync'];

/** @returns how many steps there have been. */
function faultAt(step: number, fault: string): () => number {
  let steps = 0;
  const point = (): void => {
    if (steps++ !== step) return;
    if (fault === 'kill') process.kill(process.pid, 'SIGKILL');
    throw Object.assign(new Error('input/output error'), { code: 'EIO' });
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
  fault: { step: number; kind: string },
): Promise<void> {
  const machine = await KvStateMachine.open({
    directory,
    shardId: 3,
    seal: rowSeal(1, 2),
    checkpointIdleMs: 3_600_000,
  });
  process.stdout.write('open\n');
  const steps = faultAt(fault.step, fault.kind);
  const outcome = await machine.install(createReadStream(file), expected).then(
    () => `installed ${steps()}`,
    (error: unknown) => `failed ${codeOf(error)}`,
  );
  process.stdout.write(`${outcome}\n`);
  machine.apply(batchOf(machine.appliedIndex + 1n, expected.timestampMs, ['set', 'after', '1']));
  await machine.flush();
  await machine.close();
  process.stdout.write('goes on\n');
}

const [directory = '', file = '', index = '', timestampMs = '', ...fault] = process.argv.slice(2);
const expected = { index: BigInt(index), timestampMs: Number(timestampMs) };
const [kind = '', step = ''] = fault;
main(directory, file, expected, { kind, step: Number(step) }).catch((error: unknown) => {
  process.stdout.write(`ended by ${codeOf(error)}\n`, () => process.exit(1));
});
