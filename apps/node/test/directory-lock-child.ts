/**
 * A process that takes the lock of a data directory, for data-directory-lock.test.ts.
 *
 * `hold <lock>`: takes it, prints `locked` or the code of the refusal, and stays until it is killed
 * or told to release it.
 *
 * `race <lock> <rounds>`: takes it so many times, and each time is alone in a critical section or
 * prints `not alone`. Every other time it leaves the lock of a dead process behind in place of its
 * own, as if it had been killed. Prints `done` at the end.
 */
import { mkdirSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { codeOf } from '@raftseal/interface';
import { type DirectoryLock, lockDirectory } from '../src/data-directory-lock.ts';

const [mode, path = '', rounds = '0'] = process.argv.slice(2);

/** Above the highest process id of Linux (2^22). */
const NO_PID = 5_000_000;

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function hold(): Promise<void> {
  try {
    const lock = await lockDirectory(path);
    print('locked');
    process.stdin.once('data', () => {
      void lock.release().then(() => print('released'));
      process.stdin.pause();
    });
  } catch (error) {
    print(codeOf(error) ?? String(error));
  }
}

async function race(): Promise<void> {
  for (let round = 0; round < Number(rounds); ) {
    const lock = await attempt();
    if (lock) {
      await criticalSection();
      if (round % 2 === 0) await lock.release();
      else dieWithoutRelease(round);
      round++;
    }
    await delay(Math.random() * 2);
  }
  print('done');
}

async function attempt(): Promise<DirectoryLock | undefined> {
  try {
    return await lockDirectory(path);
  } catch (error) {
    if (codeOf(error) === 'RAFTSEAL_NODE_DATA_DIR_LOCKED') return undefined;
    throw error;
  }
}

/** The file system tells whether somebody else is inside: making a directory is exclusive. */
async function criticalSection(): Promise<void> {
  try {
    mkdirSync(`${path}-inside`);
  } catch {
    print('not alone');
    return;
  }
  await delay(Math.random() * 3);
  rmdirSync(`${path}-inside`);
}

function dieWithoutRelease(round: number): void {
  const stale = `${path}-stale-${process.pid}`;
  writeFileSync(stale, `${NO_PID} ${process.pid} ${round}\n`);
  renameSync(stale, path);
}

void (mode === 'race' ? race() : hold());
