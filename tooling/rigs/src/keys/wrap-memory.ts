/**
 * Every wrap that a sidecar of the cluster ever had, as far as it was looked at: once a DEK is
 * retired, none of its wraps may be left in any file.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeSidecar, SIDECAR_FILE_NAME } from '@raftseal/sidecar';
import type { World } from '../world/world.ts';

export class WrapMemory {
  readonly #world: World;
  /** By DEK, in hex. */
  readonly #wraps: Map<number, Set<string>> = new Map();

  constructor(world: World) {
    this.#world = world;
  }

  /** Reads the sidecars of all nodes, running or not: they are replaced in one piece. */
  async note(): Promise<void> {
    for (const { dataPath } of this.#world.nodes) {
      const bytes = await readFile(join(dataPath, 'keys', SIDECAR_FILE_NAME)).catch(ignoreMissing);
      if (bytes === undefined) continue;
      for (const [dekId, { wraps }] of decodeSidecar(bytes).state.keys) {
        const known = this.#wraps.get(dekId) ?? new Set();
        for (const wrap of wraps) known.add(Buffer.from(wrap.bytes).toString('hex'));
        this.#wraps.set(dekId, known);
      }
    }
  }

  wrapsOf(dekId: number): readonly Buffer[] {
    return [...(this.#wraps.get(dekId) ?? [])].map((hex) => Buffer.from(hex, 'hex'));
  }
}

function ignoreMissing(error: unknown): undefined {
  const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
  if (!isMissing) throw error;
}
