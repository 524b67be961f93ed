import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A directory of the running test's own, gone when the test is over. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'raftseal-node-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Permission bits as `ls` and operators name them, such as `600`. */
export function octal(mode: number): string {
  return (mode & 0o777).toString(8);
}
