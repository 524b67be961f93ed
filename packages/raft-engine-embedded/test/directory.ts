import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A fresh directory for one test. */
export async function temporaryDirectory(): Promise<{
  directory: string;
  remove: () => Promise<void>;
}> {
  const directory = await mkdtemp(join(tmpdir(), 'raftseal-log-'));
  return { directory, remove: () => rm(directory, { recursive: true, force: true }) };
}
