/**
 * One process per data directory. Node has no file locks, so the lock is a file that names its
 * owner: process id, the kernel's boot id, the process's start time (where /proc tells them), so
 * that a number given to another process later does not keep the directory locked, and a random
 * word, so that no two locks are alike.
 *
 * Invariants: the file appears whole; only its owner, or one single process after the owner's end,
 * ever removes it. It guards one machine and one process namespace.
 */
import { createHash, randomBytes } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { codeOf, RaftsealError } from '@raftseal/interface';

export interface DirectoryLock {
  release(): Promise<void>;
}

/** @throws RAFTSEAL_NODE_DATA_DIR_LOCKED while its owner lives */
export async function lockDirectory(path: string): Promise<DirectoryLock> {
  const owner = `${await describeProcess(process.pid)} ${randomBytes(8).toString('hex')}\n`;
  for (;;) {
    if (await createLock(path, owner)) return { release: () => releaseLock(path, owner) };
    const found = await readOwner(path);
    if (found === undefined) continue;
    const pid = Number.parseInt(found, 10);
    if (pid > 0 && (await isAlive(pid)) && found.startsWith(`${await describeProcess(pid)} `)) {
      throw new RaftsealError(
        'RAFTSEAL_NODE_DATA_DIR_LOCKED',
        `process ${pid} uses this data directory (${path}): stop it first, or choose another --data`,
      );
    }
    await removeStale(path, found);
  }
}

/** Written aside and linked: nobody ever sees a lock without its owner. */
async function createLock(path: string, owner: string): Promise<boolean> {
  const aside = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFile(aside, owner, { flag: 'wx', mode: 0o600 });
    await link(aside, path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(aside, { force: true });
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
 * Of the processes that find one stale lock, a single one removes it: the one that holds a lock
 * named after it. Whoever comes late finds another lock in its place, and leaves that alone. The
 * lock of a remover that was killed is stale in its turn and goes the same way.
 * @throws RAFTSEAL_NODE_DATA_DIR_LOCKED where another process is about to take the directory
 */
async function removeStale(path: string, stale: string): Promise<void> {
  const name = createHash('sha256').update(stale).digest('hex').slice(0, 12);
  const removal = await lockDirectory(`${path}.${name}`);
  try {
    if ((await readOwner(path)) === stale) await rm(path, { force: true });
  } finally {
    await removal.release();
  }
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
  return `${pid} ${bootId.trim()} ${startTicks}`;
}

async function readProc(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
