import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type DataDirectoryRequest,
  dataDirectoryPaths,
  isShardCount,
  openDataDirectory,
  readIdentity,
  SHARD_COUNT_DEFAULT,
  writeFlushed,
} from '../src/data-directory.ts';
import { octal, temporaryDirectory } from './temporary-directory.ts';

function newPath(): string {
  return join(temporaryDirectory(), 'data');
}

/** Makes a data directory, and gives its lock back. */
async function made(request: DataDirectoryRequest): Promise<string> {
  await (await openDataDirectory(request)).release();
  return request.path;
}

async function modesIn(path: string): Promise<Record<string, string>> {
  const modes: Record<string, string> = {};
  for (const name of ['.', ...(await readdir(path, { recursive: true }))]) {
    modes[name] = octal((await stat(join(path, name))).mode);
  }
  return modes;
}

describe('a new data directory', () => {
  it('is made with its parents, for its owner alone', async () => {
    const path = join(newPath(), 'deep', 'down');
    const directory = await openDataDirectory({ path });
    expect(await modesIn(path)).toEqual({
      '.': '700',
      'raftseal.json': '600',
      keys: '700',
      lock: '600',
      log: '700',
      shards: '700',
    });
    expect(octal((await stat(join(path, '..'))).mode)).toBe('700');
    await directory.release();
  });

  it('keeps its modes under the most open umask', async () => {
    const before = process.umask(0);
    try {
      const path = await made({ path: newPath() });
      const modes = Object.values(await modesIn(path));
      expect(new Set(modes)).toEqual(new Set(['700', '600']));
    } finally {
      process.umask(before);
    }
  });

  it('gets a node id of its own and the shards asked for, or the default', async () => {
    const [first, second] = [newPath(), newPath()];
    const one = await openDataDirectory({ path: first, shardCount: 7 });
    const other = await openDataDirectory({ path: second });
    expect(one.shardCount).toBe(7);
    expect(other.shardCount).toBe(SHARD_COUNT_DEFAULT);
    expect(one.nodeId).toMatch(/^node-[0-9a-f]{16}$/);
    expect(other.nodeId).not.toBe(one.nodeId);
    await one.release();
    await other.release();
  });

  it('names its parts by absolute paths within it, whatever path it was asked for by', async () => {
    const absolute = newPath();
    const directory = await openDataDirectory({ path: relative(process.cwd(), absolute) });
    expect(directory.path).toBe(absolute);
    const { keysPath, logPath, adminTokenPath } = directory;
    const parts = [keysPath, logPath, adminTokenPath, directory.shardPath(12)];
    expect(parts).toEqual(
      ['keys', 'log', 'admin.token', 'shards/12'].map((part) => join(absolute, part)),
    );
    await directory.release();
  });

  it('can hold from 1 to 1024 shards', () => {
    expect([1, 4, 1024].map(isShardCount)).toEqual([true, true, true]);
    expect([0, -1, 1.5, 1025, Number.NaN].map(isShardCount)).not.toContain(true);
  });
});

describe('a data directory that is there', () => {
  it('keeps its identity, and takes its shard count named again or not', async () => {
    const path = await made({ path: newPath(), shardCount: 3 });
    const identity = await readIdentity(path);
    for (const request of [{ path }, { path, shardCount: 3 }]) {
      const directory = await openDataDirectory(request);
      const { nodeId, shardCount } = directory;
      expect({ nodeId, shardCount, logPlace: 'embedded' }).toEqual(identity);
      await directory.release();
    }
  });

  it('is refused with another shard count, unlocked and unchanged', async () => {
    const path = await made({ path: newPath(), shardCount: 3 });
    const before = await readFile(dataDirectoryPaths(path).identity);
    await expect(openDataDirectory({ path, shardCount: 4 })).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_SHARD_COUNT',
    });
    expect(await readFile(dataDirectoryPaths(path).identity)).toEqual(before);
    await (await openDataDirectory({ path })).release();
  });

  it('is refused where its logs are elsewhere than asked for', async () => {
    const code = 'RAFTSEAL_NODE_LOG_PLACE';
    const alone = await made({ path: newPath() });
    const request = { path: alone, logPlace: 'etcd' } as const;
    await expect(openDataDirectory(request)).rejects.toMatchObject({ code });
    const shared = await made({ path: newPath(), logPlace: 'etcd' });
    await expect(openDataDirectory({ path: shared })).rejects.toMatchObject({ code });
  });

  it('remembers its cluster, and is refused where that cannot be read', async () => {
    const request = { path: newPath(), logPlace: 'etcd' } as const;
    const directory = await openDataDirectory(request);
    expect(directory.clusterName).toBeUndefined();
    const name = '0123456789abcdef'.repeat(2);
    await directory.joined(name);
    await directory.release();
    const again = await openDataDirectory(request);
    expect(again.clusterName).toBe(name);
    await again.release();
    await writeFile(dataDirectoryPaths(request.path).cluster, '{"clusterName":"x"}');
    await expect(openDataDirectory(request)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_DATA_DIR_FORMAT',
    });
  });

  it('is refused while it is in use, and free after', async () => {
    const path = newPath();
    const directory = await openDataDirectory({ path });
    await expect(openDataDirectory({ path })).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_DATA_DIR_LOCKED',
    });
    await directory.release();
    await (await openDataDirectory({ path })).release();
  });

  const foreign = [
    '',
    'text',
    'null',
    '[]',
    '{}',
    '{"formatVersion":2,"nodeId":"n","shardCount":4}',
    '{"formatVersion":1,"nodeId":"","shardCount":4}',
    '{"formatVersion":1,"nodeId":7,"shardCount":4}',
    '{"formatVersion":1,"nodeId":"n"}',
    '{"formatVersion":1,"nodeId":"n","shardCount":"4"}',
    '{"formatVersion":1,"nodeId":"n","shardCount":0}',
    '{"formatVersion":1,"nodeId":"n","shardCount":1025}',
    '{"formatVersion":1,"nodeId":"n","shardCount":4,"logPlace":"nowhere"}',
  ];

  it.each(foreign)(
    'is refused, unlocked and unchanged, where raftseal.json is %o',
    async (text) => {
      const path = temporaryDirectory();
      await writeFile(dataDirectoryPaths(path).identity, text);
      await expect(openDataDirectory({ path })).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_DATA_DIR_FORMAT',
      });
      expect(await readdir(path)).toEqual(['raftseal.json']);
      expect(await readFile(dataDirectoryPaths(path).identity, 'utf8')).toBe(text);
    },
  );

  it.each(['keys/keys.raftseal', 'log/0000000000000001.seg', 'shards/0/store/data.mdb'])(
    'is refused where raftseal.json is lost and %s is there',
    async (part) => {
      const path = await made({ path: newPath() });
      await rm(dataDirectoryPaths(path).identity);
      await mkdir(join(path, part, '..'), { recursive: true });
      await writeFile(join(path, part), 'content');
      await expect(openDataDirectory({ path })).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_DATA_DIR_FORMAT',
        message: expect.stringContaining('raftseal.json'),
      });
      expect(await readIdentity(path)).toBe(undefined);
    },
  );

  it('may be a mount point, with the directory that file systems keep at their root', async () => {
    const path = temporaryDirectory();
    for (const part of ['lost+found', 'keys/lost+found', 'log/lost+found']) {
      await mkdir(join(path, part), { recursive: true });
    }
    await made({ path });
  });

  it('is taken over where an earlier first start was killed at any step', async () => {
    const path = temporaryDirectory();
    await writeFile(join(path, 'raftseal.json.tmp'), '{"formatV');
    const directory = await openDataDirectory({ path });
    expect(await readdir(path)).toEqual(['keys', 'lock', 'log', 'raftseal.json', 'shards']);
    await directory.release();
    await rm(join(path, 'shards'), { recursive: true });
    await made({ path });
  });
});

describe('a path that is no directory to use', () => {
  it('is refused where it is a file, or lies below one', async () => {
    const path = newPath();
    await writeFile(path, 'text');
    for (const refused of [path, join(path, 'below')]) {
      await expect(openDataDirectory({ path: refused })).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_DATA_DIR',
        message: expect.stringContaining(refused),
      });
    }
  });

  it('is refused where it is a link to nowhere', async () => {
    const path = newPath();
    await symlink(join(path, 'nowhere', 'at-all'), path);
    await expect(openDataDirectory({ path })).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_DATA_DIR',
    });
  });

  it('is refused where nothing can be made, whoever asks', async () => {
    await expect(openDataDirectory({ path: '/sys/raftseal-data' })).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_DATA_DIR',
    });
  });

  it('has no identity', async () => {
    expect(await readIdentity(newPath())).toBe(undefined);
    const path = temporaryDirectory();
    await mkdir(dataDirectoryPaths(path).identity);
    await expect(readIdentity(path)).rejects.toMatchObject({ code: 'RAFTSEAL_NODE_DATA_DIR' });
  });
});

describe('writeFlushed', () => {
  it('makes a whole file for its owner alone, and leaves nothing beside it', async () => {
    const path = join(temporaryDirectory(), 'file');
    await writeFlushed(path, 'text\n');
    expect(await readFile(path, 'utf8')).toBe('text\n');
    expect(octal((await stat(path)).mode)).toBe('600');
    expect(await readdir(join(path, '..'))).toEqual(['file']);
  });

  it('leaves a file that is there as it is', async () => {
    const path = join(temporaryDirectory(), 'file');
    await writeFile(path, 'first');
    await expect(writeFlushed(path, 'second')).rejects.toMatchObject({ code: 'EEXIST' });
    expect(await readFile(path, 'utf8')).toBe('first');
    expect(await readdir(join(path, '..'))).toEqual(['file']);
  });
});
