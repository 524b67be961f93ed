import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { walkFiles } from '../../src/verify/file-walk.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

const known = {
  'raftseal.json': 'no user data',
  'raftseal.json.tmp': 'no user data',
  lock: 'no user data',
  'lock.0123456789ab': 'no user data',
  'lock.0123456789ab.ba9876543210': 'no user data',
  'admin.token': 'no user data',
  'admin.token.tmp': 'no user data',
  'keys/keys.raftseal': 'sidecar',
  'keys/keys.raftseal.tmp': 'sidecar',
  'keys/writers/data.mdb': 'writer registry',
  'keys/writers/lock.mdb': 'writer registry',
  'log/lock': 'no user data',
  'log/0000000000000001.seg': 'log segment',
  'log/00000000000000ff.seg.new': 'log segment',
  'shards/0/store/data.mdb': 'store',
  'shards/0/store/lock.mdb': 'store',
  'shards/0/store/copy/data.mdb': 'store',
  'shards/1023/store/data.mdb': 'store',
} as const;

const unknown = [
  'core.4711',
  'raftseal.json~',
  '.raftseal.json.swp',
  'lock.sh',
  'admin.token.bak',
  'keys/keys.raftseal.old',
  'keys/kek',
  'keys/writers/data.mdb.bak',
  'log/0000000000000001.seg.gz',
  'log/heap.heapsnapshot',
  'shards/0/dump.rdb',
  'shards/0/store/dump',
  'shards/x/store/data.mdb',
  'shards/0/store/deep/data.mdb',
  'log/log/0000000000000001.seg',
];

async function directoryWith(paths: readonly string[]): Promise<string> {
  const directory = temporaryDirectory();
  for (const path of paths) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), path);
  }
  return directory;
}

describe('a walk over the files of a data directory', () => {
  it('knows what each file of raftseal may hold, and how long it is', async () => {
    const files = await walkFiles(await directoryWith(Object.keys(known)));
    expect(Object.fromEntries(files.map(({ path, content }) => [path, content]))).toEqual(known);
    for (const { path, bytes } of files) expect(bytes).toBe(path.length);
  });

  it('lists files in the order of their paths', async () => {
    const files = await walkFiles(await directoryWith(['b', 'a/z', 'a/b', 'c']));
    expect(files.map(({ path }) => path)).toEqual(['a/b', 'a/z', 'b', 'c']);
  });

  it.each(unknown)('takes %s for no file of raftseal', async (path) => {
    expect(await walkFiles(await directoryWith([path]))).toEqual([
      { path, bytes: path.length, content: 'unknown' },
    ]);
  });

  it('takes a link for no file of raftseal, whatever its name is and wherever it leads', async () => {
    const directory = await directoryWith(['elsewhere']);
    await symlink(join(directory, 'elsewhere'), join(directory, 'admin.token'));
    await symlink('/none/such', join(directory, 'lock'));
    await symlink('/tmp', join(directory, 'log'));
    const files = await walkFiles(directory);
    expect(files.map(({ path, content }) => `${path}: ${content}`)).toEqual([
      'admin.token: unknown',
      'elsewhere: unknown',
      'lock: unknown',
      'log: unknown',
    ]);
  });
});
