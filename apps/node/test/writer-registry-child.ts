/**
 * A process that stores rows in a writer registry, for writer-registry-store.test.ts. Arguments:
 * the directory, and how many rows. Prints each row's number once it is durable; after the last it
 * kills itself, before anything else can happen.
 */
import { writeSync } from 'node:fs';
import { openWriterRegistry } from '../src/writer-registry-store.ts';

const [directory = '', count = '1'] = process.argv.slice(2);

async function run(): Promise<void> {
  const registry = openWriterRegistry(directory);
  for (let number = 1; number <= Number(count); number++) {
    await registry.put([{ dekId: 9, writerId: number, firstEpoch: 1, lastEpoch: number }]);
    writeSync(1, `${number}\n`);
  }
  process.kill(process.pid, 'SIGKILL');
}

void run();
