/** Backups from the command line, and kill -9 in the middle of taking and restoring one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { MANIFEST_NAME, shardFileName } from '../../src/backup/manifest.ts';
import { openDataDirectory, restoringPath } from '../../src/data-directory.ts';
import { refusal } from '../backup/backup-steps.ts';
import { command, runCommand, startNode, type Workspace, workspace } from './node-process.ts';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

const VALUES = 200;
const VALUE_BYTES = 100_000;
const TIME_LIMIT_MS = 120_000;

async function newWorkspace(): Promise<Workspace> {
  const made = await workspace();
  onTestFinished(() => made.remove());
  return made;
}

function spawnCommand(args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [main, ...args], { stdio: 'ignore' });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

async function appears(path: string): Promise<void> {
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** Kills a restore once it has keys, and rows to come. */
async function killedRestore(args: readonly string[], dataPath: string): Promise<void> {
  const child = spawnCommand(args);
  await appears(join(restoringPath(dataPath), 'data', 'keys', 'keys.raftseal'));
  child.kill('SIGKILL');
  await once(child, 'exit');
}

describe('raftseal backup', { timeout: TIME_LIMIT_MS }, () => {
  it('leaves, killed at any moment, a backup that is none, and the old data or the new', async () => {
    const place = await newWorkspace();
    const kek = `file:${place.kekPath}`;
    const node = await startNode(place, ['--shards', '2']);
    const client = node.client();
    for (let n = 0; n < VALUES; n++) await client.set(`key:${n}`, 'x'.repeat(VALUE_BYTES));
    const cut = join(place.path, 'cut');
    const address = ['--admin', node.adminUrl, '--data', place.dataPath];
    const creating = runCommand(['backup', 'create', '--out', cut, ...address]);
    await appears(join(cut, shardFileName(0)));
    await node.kill();
    expect((await creating).exitCode).toBe(1);
    expect(existsSync(join(cut, MANIFEST_NAME))).toBe(false);
    const refused = await runCommand(['backup', 'verify', cut, '--kek', kek]);
    expect(refused).toMatchObject({ exitCode: 1 });
    expect(refused.stderr).toContain('RAFTSEAL_BACKUP_INVALID');

    const again = await startNode(place);
    const whole = join(place.path, 'whole');
    expect(await command(again, place, ['backup', 'create', '--out', whole])).toContain(whole);
    const listed = (await command(again, place, ['backup', 'list'])).trim().split('\n');
    expect(listed).toHaveLength(3);
    const [unfinished = ''] = listed[1]?.split(' ') ?? [];
    expect(await command(again, place, ['backup', 'forget', unfinished])).toContain(unfinished);
    await again.client().set('key:0', 'newer than the backup');
    expect(await again.stop()).toBe(0);
    const verified = await runCommand(['backup', 'verify', whole, '--kek', kek]);
    expect(verified).toMatchObject({ exitCode: 0, stderr: '' });
    expect(verified.stdout).toContain(`can be restored: ${VALUES} rows`);

    const fresh = join(place.path, 'fresh');
    await killedRestore(['backup', 'restore', whole, '--data', fresh, '--kek', kek], fresh);
    for (const half of [fresh, join(restoringPath(fresh), 'data')]) {
      const opening = refusal(openDataDirectory({ path: half }));
      expect(await opening).toBe('RAFTSEAL_BACKUP_RESTORE_UNFINISHED');
    }

    const restore = ['backup', 'restore', whole, '--data', place.dataPath, '--kek', kek];
    await killedRestore([...restore, '--replace'], place.dataPath);
    const old = await startNode(place);
    expect(await old.client().get('key:0')).toBe('newer than the backup');
    await old.stop();
    const restored = await runCommand([...restore, '--replace']);
    expect(restored).toMatchObject({ exitCode: 0, stderr: '' });
    expect(restored.stdout).toContain(`${VALUES} rows`);
    const twin = await startNode(place);
    expect(await twin.client().get('key:0')).toBe('x'.repeat(VALUE_BYTES));
    expect(await twin.client().dbsize()).toBe(VALUES);
    await twin.stop();
  });
});
