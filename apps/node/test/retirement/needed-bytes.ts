/** Looks into the files of a data directory for what is left of a key. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SidecarFile } from '@raftseal/sidecar';

/** The wrapped bytes of a DEK, as the sidecar has them. */
export async function wrapsOf(dataPath: string, dekId: number): Promise<readonly Buffer[]> {
  const sidecar = await new SidecarFile({ directory: join(dataPath, 'keys') }).read();
  const wraps = sidecar?.state.keys.get(dekId)?.wraps ?? [];
  return wraps.map(({ bytes }) => Buffer.from(bytes));
}

/** Files that hold one of `pieces` anywhere. */
export async function filesWith(
  directory: string,
  pieces: readonly Buffer[],
): Promise<readonly string[]> {
  const found: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path);
    if (pieces.some((piece) => bytes.includes(piece))) found.push(path);
  }
  return found;
}
