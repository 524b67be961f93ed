/** What is done to a backup at rest, by accident or on purpose. */
import { randomBytes } from 'node:crypto';
import { cp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RaftsealError } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KEY_STATE_NAME, MANIFEST_NAME, shardFileName } from '../../src/backup/manifest.ts';
import { verifyBackup } from '../../src/backup/verification.ts';
import type { NodeConfig } from '../../src/config.ts';
import { KekSet } from '../../src/kek-set.ts';
import { clientOf, newConfig, running } from '../running-node.ts';
import { newPath, refusal, restore } from './backup-steps.ts';

const FLIPS_PER_FILE = 40;
const SECRET = 'only-in-an-envelope';

interface Taken {
  readonly path: string;
  readonly config: NodeConfig;
  readonly names: readonly string[];
}

async function taken(): Promise<Taken> {
  const config = newConfig({ shardCount: 2 });
  const node = await running(config);
  const client = clientOf(node);
  for (let n = 0; n < 6; n++) await client.set(`${SECRET}:${n}`, SECRET.repeat(n));
  await client.hset('hash', SECRET, SECRET);
  const path = newPath();
  await node.admin.createBackup(path);
  await node.stop();
  return { path, config, names: await readdir(path) };
}

/** What a verification ends with: the problems, or the code of the refusal. */
async function verdict(path: string, keks: KekSet): Promise<readonly string[]> {
  try {
    const { problems, restorable } = await verifyBackup(path, keks);
    expect(restorable).toBe(problems.length === 0);
    return problems;
  } catch (error) {
    if (!(error instanceof RaftsealError)) throw error;
    return [error.code];
  }
}

describe('a backup at rest', () => {
  it('invariants 7 and 10, HAZARD MISS-08: holds nothing in the clear, and is refused with any bit of it flipped', async () => {
    const { path, config, names } = await taken();
    const keks = await KekSet.open(config.kekUris);
    expect(await verdict(path, keks)).toEqual([]);
    for (const name of names) {
      const file = join(path, name);
      const bytes = await readFile(file);
      expect(bytes.includes(SECRET)).toBe(false);
      const flip = async (bit: number): Promise<void> => {
        const changed = Buffer.from(bytes);
        changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        await writeFile(file, changed);
        expect(await verdict(path, keks), `${name}, bit ${bit}`).not.toEqual([]);
      };
      // Where each file ends is where its MAC, counts or seal are.
      for (const bit of [0, 8 * bytes.length - 1]) await flip(bit);
      const bits = fc.nat(8 * bytes.length - 1);
      await fc.assert(fc.asyncProperty(bits, flip), { numRuns: FLIPS_PER_FILE });
      for (const end of [0, bytes.length - 1]) {
        await writeFile(file, bytes.subarray(0, end));
        expect(await verdict(path, keks), `${name} cut at ${end}`).not.toEqual([]);
      }
      await writeFile(file, Buffer.concat([bytes, Buffer.of(0)]));
      expect(await verdict(path, keks), `${name} and a byte`).not.toEqual([]);
      await writeFile(file, bytes);
    }
    expect(await verdict(path, keks)).toEqual([]);
    await keks.close();
  });

  it('invariant 7: is refused with files missing, added, exchanged, or of another backup', async () => {
    const { path, config, names } = await taken();
    const keks = await KekSet.open(config.kekUris);
    const spoilt = async (spoil: (copy: string) => Promise<unknown>): Promise<string> => {
      const copy = newPath();
      await cp(path, copy, { recursive: true });
      await spoil(copy);
      return (await verdict(copy, keks)).join();
    };
    for (const name of names) {
      expect(await spoilt((copy) => rm(join(copy, name)))).toContain('RAFTSEAL_BACKUP_INVALID');
    }
    expect(await spoilt((copy) => writeFile(join(copy, 'notes.txt'), 'x'))).toContain('notes.txt');
    const exchanged = await spoilt(async (copy) => {
      await rename(join(copy, shardFileName(0)), join(copy, 'aside'));
      await rename(join(copy, shardFileName(1)), join(copy, shardFileName(0)));
      await rename(join(copy, 'aside'), join(copy, shardFileName(1)));
    });
    expect(exchanged).toContain('RAFTSEAL_BACKUP_INVALID');
    const other = await taken();
    for (const name of [KEY_STATE_NAME, MANIFEST_NAME, shardFileName(0)]) {
      const mixed = await spoilt((copy) => cp(join(other.path, name), join(copy, name)));
      expect(mixed).toContain('RAFTSEAL_BACKUP_INVALID');
    }
    const to = newConfig();
    await writeFile(join(path, shardFileName(1)), randomBytes(2_000));
    const attempt = restore(path, { from: config, to });
    expect(await refusal(attempt)).toBe('RAFTSEAL_BACKUP_INVALID');
    expect(await readdir(join(to.dataPath, '..'))).toEqual(['kek']);
    await keks.close();
  });
});
