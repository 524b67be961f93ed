/** The install of a snapshot: the store is the old one or that of the snapshot, whole. */
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { KvStateMachine } from '@raftseal/kv';
import type { InstallProgramOptions } from '../children/install-process.ts';
import { applyThrough, rowSeal, STORE_SHARD } from './store-rows.ts';
import { storeProblems } from './store-subject.ts';
import { childCommand, type Subject } from './subject.ts';

const OLD_INDEX = 30n;
const SNAPSHOT_INDEX = 60n;

/** @param folder of the snapshot, which is beside the directories of the runs */
export function installSubject(folder: string): Subject {
  const snapshotPath = join(folder, 'snapshot');
  return {
    name: 'install',
    async prepare(directory) {
      const machine = await KvStateMachine.open({
        directory,
        shardId: STORE_SHARD,
        seal: rowSeal(1),
      });
      applyThrough(machine, OLD_INDEX);
      await machine.flush();
      await machine.close();
      await makeSnapshot(join(dirname(directory), 'snapshot-source'), snapshotPath);
    },
    command: (directory, plant) =>
      childCommand<InstallProgramOptions>('install', {
        directory,
        snapshotPath,
        index: Number(SNAPSHOT_INDEX),
        plant,
      }),
    problems: (directory, told) => storeProblems(directory, told, OLD_INDEX),
    plants: { early: 'kill', swallow: 'error' },
    mayGoOnAfter: () => false,
  };
}

async function makeSnapshot(directory: string, path: string): Promise<void> {
  const machine = await KvStateMachine.open({ directory, shardId: STORE_SHARD, seal: rowSeal(4) });
  applyThrough(machine, SNAPSHOT_INDEX);
  await machine.flush();
  const chunks: Buffer[] = [];
  for await (const chunk of (await machine.snapshot()).chunks()) chunks.push(chunk);
  await writeFile(path, Buffer.concat(chunks));
  await machine.close();
}
