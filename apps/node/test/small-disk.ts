/** A disk that a test can fill. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '@raftseal/interface';
import { onTestFinished } from 'vitest';
import { temporaryDirectory } from './temporary-directory.ts';

/** Mounts a file system of so many bytes for the running test; resolves to where it is. */
export function smallDisk(bytes: number): string {
  const path = temporaryDirectory();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=0700`, 'raftseal', path]);
  } catch (cause) {
    const message =
      'a small disk could not be mounted: run the tests as root, or as root of a namespace of their ' +
      'own: unshare --user --map-root-user --mount npm test';
    throw new Error(message, { cause });
  }
  onTestFinished(() => {
    execFileSync('umount', [path]);
  });
  return path;
}

/** Leaves no byte free; removing the file that it makes gives them back. */
export function fillDisk(path: string): string {
  const filler = join(path, 'filler');
  for (let bytes = 1024 * 1024; bytes >= 1; bytes = Math.floor(bytes / 2)) {
    try {
      for (;;) writeFileSync(filler, Buffer.alloc(bytes), { flag: 'a' });
    } catch (error) {
      if (codeOf(error) !== 'ENOSPC') throw error;
    }
  }
  return filler;
}
