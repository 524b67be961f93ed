/**
 * One process per data directory. Node has no file locks, so the lock is a file that names its
 * owner: process id, the kernel's boot id and the process's start time (where /proc tells them), so
 * that a number given to another process later does not keep the directory locked.
 */
import { randomBytes } from 'node:crypto';
import { link, open, readFile, rename, rm } from 'node:fs/promises';
import { codeOf, RaftsealError } from '@raftseal/interface';

export interface DirectoryLock {
  release(): Promise<void>;
}

/** @throws RAFTSEAL_NODE_DATA_DIR_LOCKED while its owner lives */
export async function lockDirectory(path: string): Promise<DirectoryLock> {
  const owner = await describeProcess(process.pid);
  for (;;) {
    if (await createLock(path, owner)) return { release: () => releaseLock(path, owner) };
    const found = await readOwner(path);
    if (found === undefined) continue;
    const pid = Number.parseInt(found, 10);
    if (pid > 0 && (await isAlive(pid)) && (await describeProcess(pid)) === found) {
      throw new RaftsealError(
        'RAFTSEAL_NODE_DATA_DIR_LOCKED',
        `process ${pid} uses this data directory (${path}): stop it first, or choose another --data`,
      );
    }
    await removeStale(path, found);
  }
}

async function createLock(path: string, owner: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx', 0o600);
    await handle.writeFile(owner).finally(() => handle.close());
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

async function readOwner(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Moves the file aside before it is removed: of two processes that found the same stale lock, the
 * second may take away the first one's new lock, sees it by the content, and puts it back.
 */
async function removeStale(path: string, stale: string): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  const moved = await readFile(aside, 'utf8');
  if (moved !== stale) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

async function releaseLock(path: string, owner: string): Promise<void> {
  if ((await readOwner(path)) === owner) await rm(path, { force: true });
}

async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

async function describeProcess(pid: number): Promise<string> {
  const bootId = await readProc('/proc/sys/kernel/random/boot_id');
  const stat = await readProc(`/proc/${pid}/stat`);
  // Field 22 of proc(5) stat, counted behind the command's closing parenthesis, is the start time.
  const startTicks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  return `${pid} ${bootId.trim()} ${startTicks}\n`;
}

async function readProc(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
