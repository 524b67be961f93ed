/** A file system in a sparse image, mounted over a loop device: one whose power can be cut. */
import { execFile } from 'node:child_process';
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { RequiredProgram } from '../world/required-programs.ts';
import { assertInSandbox } from '../world/sandbox.ts';

export type DiskKind = 'ext4' | 'ext4-writeback' | 'xfs';

export const diskKinds: readonly DiskKind[] = ['ext4', 'ext4-writeback', 'xfs'];

interface Making {
  readonly make: readonly [program: RequiredProgram, ...args: string[]];
  readonly options: string;
}

const ext4 = ['mkfs.ext4', '-q', '-F'] as const;

/**
 * How each is made and mounted. With ext4's defaults a rename flushes what is renamed, which would
 * hide a flush that is missing.
 */
const makings: Readonly<Record<DiskKind, Making>> = {
  ext4: { make: ext4, options: 'noauto_da_alloc' },
  'ext4-writeback': { make: ext4, options: 'noauto_da_alloc,data=writeback' },
  xfs: { make: ['mkfs.xfs', '-q', '-f'], options: 'noatime' },
};

/** mkfs.xfs takes nothing smaller than 300 MB; all of it that is not written takes no room. */
const IMAGE_BYTES = 1024 * 1024 * 1024;
const TIMEOUT_MS = 30_000;

const run = promisify(execFile);

export class TestDisk {
  readonly kind: DiskKind;
  readonly mountPath: string;
  readonly #imagePath: string;
  #isMounted = false;

  private constructor(kind: DiskKind, scratch: string) {
    this.kind = kind;
    this.mountPath = join(scratch, `${kind}.mount`);
    this.#imagePath = join(scratch, `${kind}.image`);
  }

  static async make(kind: DiskKind, scratch: string): Promise<TestDisk> {
    assertInSandbox();
    const disk = new TestDisk(kind, scratch);
    mkdirSync(disk.mountPath, { recursive: true });
    await disk.reformat();
    return disk;
  }

  /** Makes an empty file system of it, mounted. */
  async reformat(): Promise<void> {
    await this.unmount();
    rmSync(this.#imagePath, { force: true });
    writeFileSync(this.#imagePath, '', { mode: 0o600 });
    truncateSync(this.#imagePath, IMAGE_BYTES);
    const [program, ...args] = makings[this.kind].make;
    await run(program, [...args, this.#imagePath], { timeout: TIMEOUT_MS });
    await this.mount();
  }

  /** Replays the journal, as after a power cut. */
  async mount(): Promise<void> {
    const options = `loop,${makings[this.kind].options}`;
    const type = this.kind === 'xfs' ? 'xfs' : 'ext4';
    const args = ['-t', type, '-o', options, this.#imagePath, this.mountPath];
    await run('mount', args, { timeout: TIMEOUT_MS });
    this.#isMounted = true;
  }

  /** Nobody may have a file of it open. */
  async unmount(): Promise<void> {
    if (!this.#isMounted) return;
    await run('umount', [this.mountPath], { timeout: TIMEOUT_MS });
    this.#isMounted = false;
  }

  /** Has the file system become read-only by itself, as after an error of the disk. ext4 only. */
  async abort(): Promise<void> {
    const args = ['-o', 'remount,abort', this.mountPath];
    // The remount itself may report that the file system is read-only.
    await run('mount', args, { timeout: TIMEOUT_MS }).catch(() => undefined);
  }

  async remove(): Promise<void> {
    await this.unmount();
    rmSync(this.#imagePath, { force: true });
  }
}
