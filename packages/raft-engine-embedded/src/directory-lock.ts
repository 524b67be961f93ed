/**
 * Keeps a second process from opening the same log by mistake: a file that names the process which
 * has it open, by its id and the moment it started, so that a killed process leaves no obstacle. It
 * guards one machine and one process namespace; it is no fence between machines.
 */
import { readFile, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RaftsealError } from '@raftseal/interface';

const LOCK_NAME = 'lock';

export interface DirectoryLock {
  release(): Promise<void>;
}

/** @throws RAFTSEAL_ENGINE_LOCKED */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const path = join(directory, LOCK_NAME);
  const holder = `${process.pid} ${await startOf(process.pid)}\n`;
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      await writeFile(path, holder, { flag: 'wx', mode: 0o600 });
      return { release: () => removeFile(path) };
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'EEXIST') throw error;
    }
    if (await isHeld(path)) break;
    await removeFile(path);
  }
  throw new RaftsealError(
    'RAFTSEAL_ENGINE_LOCKED',
    `the log in ${directory} is open already: stop the process that ${path} names; if there is ` +
      'none, delete that file',
  );
}

async function isHeld(path: string): Promise<boolean> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const [digits = '', started = ''] = text.trim().split(' ');
  const pid = Number(digits);
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  return isRunning(pid) && (await startOf(pid)) === started;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: unknown }).code === 'EPERM';
  }
}

/** Boot and moment at which a process started, where the system tells; else a fixed word. */
async function startOf(pid: number): Promise<string> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field, in parentheses, may hold anything; the start time is the 22nd of all.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return `${boot.trim()}/${fields[19] ?? ''}`;
  } catch {
    return 'unknown';
  }
}

async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if ((error as { code?: unknown }).code !== 'ENOENT') throw error;
  });
}
