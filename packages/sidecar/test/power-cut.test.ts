/**
 * Power cuts at every step of a write, over every image that an unflushed disk may leave. The
 * variants without one of the flushes must be caught, or the rig proves nothing.
 */
import { describe, expect, it } from 'vitest';
import { decodeSidecar, encodeSidecar, SidecarFile, type SidecarFileSystem } from '../src/index.ts';
import { mac, nextState } from './key-states.ts';
import { asRecord, inPieces, stepped, withHandles } from './stepped-file-system.ts';
import { VolatileDisk } from './volatile-disk.ts';

interface Verdict {
  /** Steps before each of which the power was cut. */
  steps: string[];
  images: number;
  violations: string[];
}

/** Writes generations 1 to 3 and cuts the power before each step and after each acknowledgement. */
async function cutEverywhere(
  variant: (disk: VolatileDisk) => SidecarFileSystem = (disk) => disk,
): Promise<Verdict> {
  const verdict: Verdict = { steps: [], images: 0, violations: [] };
  const disk = new VolatileDisk();
  const states = [1n, 2n, 3n].map((generation) => nextState(generation));
  let acknowledged = 0n;
  let started = 0n;
  const cut = (at: string): void => {
    for (const image of disk.imagesAfterPowerCut()) {
      verdict.images += 1;
      const found = generationOf(image.get('/data/keys.raftseal'), states.map(encoded));
      if (found < acknowledged || found > started) {
        verdict.violations.push(`${at}: ${found} where ${acknowledged}..${started} may be`);
      }
    }
  };
  const fileSystem = stepped(inPieces(variant(disk), 400), ({ number, name }) => {
    verdict.steps.push(name);
    cut(`before step ${number}, ${name}`);
  });
  const sidecar = new SidecarFile({ directory: '/data', fileSystem });
  for (const state of states) {
    started = state.generation;
    await sidecar.write(state, mac);
    acknowledged = state.generation;
    cut(`after the acknowledgement of ${acknowledged}`);
  }
  return verdict;
}

const encoded = (state: Parameters<typeof encodeSidecar>[0]): Buffer => encodeSidecar(state, mac);

/** 0 for no file, -1 for one that is none of those written. */
function generationOf(file: Buffer | undefined, written: readonly Buffer[]): bigint {
  if (file === undefined) return 0n;
  if (!written.some((bytes) => bytes.equals(file))) return -1n;
  return decodeSidecar(file).verify(mac.macKey).generation;
}

describe('SidecarFile under power cuts', () => {
  it('invariant 5: leaves the old or the new file whole, and the new one once acknowledged', async () => {
    const { steps, images, violations } = await cutEverywhere();
    expect(violations).toEqual([]);
    expect(images).toBeGreaterThan(50);
    expect(steps.slice(0, steps.length / 3)).toEqual([
      'remove',
      'create',
      'write',
      'write',
      'write',
      'sync',
      'stat',
      'read',
      'read',
      'read',
      'read',
      'close',
      'rename',
      'syncDirectory',
    ]);
  });

  it('is caught without the fsync of the file', async () => {
    const { violations } = await cutEverywhere((disk) =>
      withHandles(disk, () => ({ sync: async () => undefined })),
    );
    expect(violations.some((text) => text.includes(': -1 where'))).toBe(true);
  });

  it('HAZARD TSH-08: is caught without the fsync of the directory', async () => {
    const { violations } = await cutEverywhere((disk) => ({
      ...asRecord(disk),
      syncDirectory: async () => undefined,
    }));
    expect(violations.some((text) => text.includes('after the acknowledgement'))).toBe(true);
  });

  it('is caught where the file is written in place', async () => {
    const { violations } = await cutEverywhere((disk) => ({
      ...asRecord(disk),
      create: async (path) => {
        const final = path.replace('.tmp', '');
        await disk.remove(final);
        return await disk.create(final);
      },
      rename: async () => undefined,
    }));
    expect(violations.length).toBeGreaterThan(0);
  });
});
