/**
 * Lists every file of a data directory and says what it may hold. A file that no part of raftseal
 * writes is a finding: a copy, an editor's backup or a core dump may hold anything.
 */
import { lstat, readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { FileReport } from './report.ts';

const known: readonly (readonly [RegExp, FileReport['content']])[] = [
  [/^(raftseal|cluster)\.json(\.tmp)?$/, 'no user data'],
  [/^lock(\.[0-9a-f]{12})*$/, 'no user data'],
  [/^admin\.token(\.tmp)?$/, 'no user data'],
  [/^keys\/keys\.raftseal(\.tmp)?$/, 'sidecar'],
  [/^keys\/\.raftseal-probe-[0-9a-f]+\.(tmp|final)$/, 'no user data'],
  [/^keys\/writers\/(data|lock)\.mdb$/, 'writer registry'],
  [/^log\/[0-9a-f]+\.seg(\.new)?$/, 'log segment'],
  [/^log\/lock$/, 'no user data'],
  [/^audit\/\d{20}\.jsonl$/, 'audit trail'],
  [/^shards\/\d+\/store\/(copy\/)?(data|lock)\.mdb$/, 'store'],
];

/** @param path of the data directory */
export async function walkFiles(path: string): Promise<readonly FileReport[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const files: FileReport[] = [];
  for (const entry of entries) {
    if (entry.isDirectory()) continue;
    const absolute = join(entry.parentPath, entry.name);
    const name = relative(path, absolute);
    const bytes = await lstat(absolute).then(
      ({ size }) => size,
      () => undefined,
    );
    // Gone since it was listed, such as a segment that was no longer needed.
    if (bytes === undefined) continue;
    // What a link leads to may be anything, and is not in this directory.
    const match = entry.isFile() ? known.find(([pattern]) => pattern.test(name)) : undefined;
    files.push({ path: name, bytes, content: match?.[1] ?? 'unknown' });
  }
  return files.toSorted((a, b) => a.path.localeCompare(b.path));
}
