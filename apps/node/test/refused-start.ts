/** Starts that a guard refuses: how they end, and that the data directory is left as it was. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { expect } from 'vitest';
import type { NodeConfig } from '../src/config.ts';
import { startNode } from '../src/node.ts';

const registry = join('keys', 'writers', 'data.mdb');

/**
 * What is in every file of a data directory, by its path in it. Of a log segment, which is large
 * and written by nothing but writes, when it was written last.
 */
async function contentOf({ dataPath }: NodeConfig): Promise<Record<string, string>> {
  const entries = await readdir(dataPath, { recursive: true, withFileTypes: true });
  const found: Record<string, string> = {};
  for (const entry of entries) {
    // The reader tables of LMDB are no part of any content.
    if (!entry.isFile() || entry.name === 'lock.mdb') continue;
    const path = join(entry.parentPath, entry.name);
    const isSegment = entry.name.endsWith('.seg');
    found[relative(dataPath, path)] = isSegment
      ? `written at ${(await stat(path, { bigint: true })).mtimeNs} ns`
      : await readFile(path, 'hex');
  }
  return found;
}

/** Tries twice: what a first attempt has left behind might let a second one through. */
export async function expectRefused(config: NodeConfig, code: string): Promise<void> {
  const before = await contentOf(config);
  for (const attempt of ['first', 'second']) {
    const end = await startNode(config).then(
      async (node) => {
        await node.stop();
        return 'it started';
      },
      (error: { readonly code?: string }) => error.code,
    );
    expect(end, `${attempt} attempt`).toBe(code);
  }
  // Opening a registry that is missing makes an empty one, and nothing else is made.
  expect(await contentOf(config)).toEqual({ [registry]: expect.any(String), ...before });
}
