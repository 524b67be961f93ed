/** A restore that ends in the middle: what is there then, and what the next one does. */
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RestorePlace } from '../../src/backup/restore-place.ts';
import type { NodeConfig } from '../../src/config.ts';
import { openDataDirectory, readIdentity, restoringPath } from '../../src/data-directory.ts';
import { clientOf, newConfig, running } from '../running-node.ts';
import { newPath, refusal, restore } from './backup-steps.ts';

interface World {
  readonly config: NodeConfig;
  readonly path: string;
  readonly backupId: string;
}

async function newWorld(): Promise<World> {
  const config = newConfig();
  const node = await running(config);
  await clientOf(node).set('which', 'the backup');
  const path = newPath();
  const { backupId } = await node.admin.createBackup(path);
  await node.stop();
  return { config, path, backupId };
}

/** As it is once everything was imported to `made`, and nothing has taken its place. */
async function complete(
  { backupId }: World,
  { to, made }: { readonly to: NodeConfig; readonly made: NodeConfig },
  end: (place: RestorePlace) => Promise<unknown>,
): Promise<void> {
  const place = await RestorePlace.open(to.dataPath);
  const { kekUris, shardCount = 0 } = made;
  const mark = { backupId, etcdPrefix: null, kekUris, shardCount };
  await place.begin(mark);
  await cp(made.dataPath, place.newPath, { recursive: true });
  await place.complete(mark);
  await end(place);
  await place.close();
}

/** The data directory of another node, as far as a restore looks at it. */
async function olderData({ dataPath }: NodeConfig): Promise<void> {
  const directory = await openDataDirectory({ path: dataPath });
  await directory.release();
}

async function expectPlaced(to: NodeConfig, nodeId: string | undefined): Promise<void> {
  const names = await readdir(dirname(to.dataPath));
  expect(names).not.toContain(restoringPath('data'));
  expect(names.filter((name) => name.startsWith('data.replaced-'))).toHaveLength(1);
  expect((await readIdentity(to.dataPath))?.nodeId).toBe(nodeId);
}

describe('a restore that was ended', () => {
  it('within the import begins again, and no empty node takes its place before', async () => {
    const { config, path } = await newWorld();
    const to = newConfig();
    const place = await RestorePlace.open(to.dataPath);
    await place.begin({ backupId: 'another', etcdPrefix: null, kekUris: [], shardCount: 3 });
    await mkdir(place.newPath);
    await writeFile(join(place.newPath, 'raftseal.json'), '{');
    expect(await refusal(restore(path, { from: config, to }))).toBe(
      'RAFTSEAL_NODE_DATA_DIR_LOCKED',
    );
    await place.close();
    expect(await refusal(running(to))).toBe('RAFTSEAL_BACKUP_RESTORE_UNFINISHED');
    const restored = await restore(path, { from: config, to });
    expect(restored.rows).toBe(1);
    const node = await running(to);
    expect(await clientOf(node).get('which')).toBe('the backup');
  });

  it('behind the import goes on, wherever between the renames it was', async () => {
    const world = await newWorld();
    const { config, path } = world;
    const made = newConfig();
    await restore(path, { from: config, to: made });
    const identity = await readIdentity(made.dataPath);
    const ends: readonly ((place: RestorePlace) => Promise<unknown>)[] = [
      async () => undefined,
      (place) => place.setAside(),
      async (place) => {
        await place.setAside();
        await place.takePlace();
      },
    ];
    for (const [at, end] of ends.entries()) {
      const to = { ...made, dataPath: newPath('data') };
      await olderData(to);
      await complete(world, { to, made }, end);
      if (at === 1) {
        expect(await refusal(running(to))).toBe('RAFTSEAL_BACKUP_RESTORE_UNFINISHED');
      }
      const restored = await restore(path, { from: config, to }, { replace: true });
      expect(restored).toMatchObject({ importMs: 0 });
      await expectPlaced(to, identity?.nodeId);
    }
    // What was asked for is something else: it begins again.
    const to = { ...made, dataPath: newPath('data') };
    await complete(world, { to, made }, async () => undefined);
    const { kekUris } = newConfig();
    const others = await restore(path, { from: config, to: { ...to, kekUris } });
    expect(others.importMs).toBeGreaterThan(0);
    const node = await running({ ...to, kekUris });
    expect(await clientOf(node).get('which')).toBe('the backup');
  });
});
