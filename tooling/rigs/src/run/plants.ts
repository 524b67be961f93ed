/**
 * The program that a run starts: a copy of the built node, so that a build meanwhile changes nothing
 * under it. Into the copy a fault may be planted, to show that the rig finds it: a rig that has never
 * failed proves nothing. The product itself has no switch for any of them.
 */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Plant {
  /** Built file, from the root of the repository. */
  readonly file: string;
  /** Text that it must hold, once. */
  readonly find: string;
  readonly replace: string;
}

/** By name: what has to be changed for a fault. */
export type Plants = Readonly<Record<string, readonly Plant[]>>;

export const clusterPlants: Plants = {
  /** A leader that was deposed appends all the same, over what its successor has put there. */
  'no-fence': [
    {
      file: 'packages/raft-engine-etcd/dist/group-appender.js',
      find: 'compare: [isCreatedAt(leader, term), isAbsent(slot)],',
      replace: 'compare: [],',
    },
  ],
  /** A marker is applied, and the wrap stays what it was. */
  'no-install': [
    {
      file: 'apps/node/dist/payload-wrap-installer.js',
      find: 'this.#slots.get(shardId)?.setRaftPayloadWrap(wrap);',
      replace: '',
    },
  ],
  /** A leader that has lost touch with etcd believes that it still leads. */
  'stale-read': [
    {
      file: 'packages/raft-engine-etcd/dist/session.js',
      find: 'if (performance.now() < this.#lease.validUntilMs)',
      replace: 'if (true)',
    },
  ],
};

const root = fileURLToPath(new URL('../../../../', import.meta.url));

/**
 * Copies what a node runs into a directory, and plants a fault if one is named.
 * @returns the path of the copy's `main.js`
 */
export function copyProgram(directory: string, plants: Plants, plant: string | undefined): string {
  const changes = plant === undefined ? [] : plants[plant];
  if (changes === undefined) {
    throw new RangeError(`--plant ${plant}: expected one of ${Object.keys(plants).join(', ')}`);
  }
  mkdirSync(directory, { recursive: true });
  for (const folder of ['packages', 'apps']) {
    cpSync(join(root, folder), join(directory, folder), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !/\/(?:src|test|bench)$/.test(path),
    });
  }
  symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
  for (const { file, find, replace } of changes) {
    const path = join(directory, file);
    const text = readFileSync(path, 'utf8');
    if (text.split(find).length !== 2) {
      throw new Error(`${file} was expected to hold this once: ${find}`);
    }
    writeFileSync(path, text.replace(find, replace));
  }
  return join(directory, 'apps/node/dist/main.js');
}
