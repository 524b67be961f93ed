/** Directories for the data of a benchmark. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Teardown } from './teardown.ts';

/** It goes with everything in it when the teardown is run. */
export async function scratchDirectory(teardown: Teardown): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'raftseal-bench-'));
  teardown.add(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
