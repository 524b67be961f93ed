/** Invariant 10 on a node that was never in the clear: its files are searched for what it was told. */
import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VerifyReport } from '../../src/verify/report.ts';
import { command, type NodeProcess, startNode, type Workspace, workspace } from './node-process.ts';

const PLANTED = 1_000;

interface Planted {
  readonly key: string;
  readonly value: string;
}

/** The forms in which a text could stand in a file, without those that a prefix shifts. */
function formsOf(text: string): readonly string[] {
  const bytes = Buffer.from(text);
  const base64 = [0, 1, 2].map((shift) => bytes.subarray(shift).toString('base64').slice(0, -4));
  return [text, bytes.toString('hex'), bytes.toString('hex').toUpperCase(), ...base64];
}

async function filesOf(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

const BLOCK_BYTES = 4096;
const zeros = Buffer.alloc(BLOCK_BYTES);

/** Log segments are zeros for the most part, and nothing hides in zeros. */
function withoutZeros(content: Buffer): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at < content.length; at += BLOCK_BYTES) {
    const block = content.subarray(at, at + BLOCK_BYTES);
    if (!block.equals(zeros)) blocks.push(block);
  }
  return Buffer.concat(blocks);
}

/** Planted texts found in a directory's files, as `file: text`. */
async function findPlanted(
  directory: string,
  planted: readonly Planted[],
): Promise<readonly string[]> {
  const found: string[] = [];
  for (const path of await filesOf(directory)) {
    const content = withoutZeros(await readFile(path));
    for (const { key, value } of planted) {
      for (const form of [...formsOf(key), ...formsOf(value)]) {
        if (content.includes(form, 0, 'latin1')) found.push(`${path}: ${form}`);
      }
    }
  }
  return found;
}

describe('a node sealed from birth', { timeout: 300_000 }, () => {
  let place: Workspace;
  let node: NodeProcess;
  const planted = Array.from({ length: PLANTED }, (): Planted => {
    const text = (): string => randomBytes(15).toString('base64url');
    return { key: `planted-${text()}`, value: `secret-${text()}-${text()}` };
  });

  beforeAll(async () => {
    place = await workspace();
    node = await startNode(place, ['--log-level', 'debug']);
  });

  afterAll(async () => {
    await node?.kill();
    await place?.remove();
  });

  it('invariant 10: no planted key or value is in any file, running, stopped or killed', async () => {
    const client = node.client();
    const pipeline = client.pipeline();
    for (const [i, { key, value }] of planted.entries()) {
      if (i % 2 === 0) pipeline.set(key, value);
      else pipeline.hset(key, `field-${value}`, value);
    }
    for (const [error] of (await pipeline.exec()) ?? []) expect(error).toBeNull();
    expect(await findPlanted(place.dataPath, planted)).toEqual([]);
    expect(await node.stop()).toBe(0);
    expect(await findPlanted(place.dataPath, planted)).toEqual([]);
    node = await startNode(place);
    await node.client().append(planted[0]?.key ?? '', '-more');
    await node.kill();
    expect(await findPlanted(place.dataPath, planted)).toEqual([]);
    node = await startNode(place);
    for (const [i, { key, value }] of planted.entries()) {
      if (i === 0) expect(await node.client().get(key)).toBe(`${value}-more`);
      else if (i === 1) expect(await node.client().hget(key, `field-${value}`)).toBe(value);
    }
  });

  it('verify finds it clean and sealed throughout', async () => {
    const report: VerifyReport = JSON.parse(await command(node, place, ['verify', '--json']));
    expect(report.problems).toEqual([]);
    expect(report.cleartext).toEqual([]);
    expect(report.sealedThroughout).toBe(true);
  });

  it('the search itself finds what a node in the clear writes', async () => {
    const clear = await workspace();
    const open = await startNode(clear, ['--encryption', 'off']);
    try {
      const [first] = planted;
      if (!first) throw new Error('something is planted');
      await open.client().set(first.key, first.value);
      expect(await findPlanted(clear.dataPath, [first])).not.toEqual([]);
    } finally {
      await open.kill();
      await clear.remove();
    }
  });
});
