/**
 * The sidecar file of one node.
 *
 * Invariants: the file is the old or the new version, whole, at any instant; reads and writes of
 * one object run one after another in the order of the calls; a state never takes back what an
 * earlier one recorded; after a failed fsync nothing is written any more. One object per
 * directory: the temporary file has a fixed name, and the node's lock on its data directory keeps
 * other processes away.
 */
import { join, resolve } from 'node:path';
import { codeOf, fatalError, type KeyState, RaftsealError } from '@raftseal/interface';
import {
  decodeSidecar,
  encodeSidecar,
  SIDECAR_BYTES_MAX,
  type SidecarMac,
  tooLarge,
  type UnverifiedSidecar,
} from './codec.ts';
import { nodeFileSystem, type SidecarFileHandle, type SidecarFileSystem } from './file-system.ts';
import { readBounded, replaceFile, withHandle } from './replacement.ts';
import { successionProblem } from './state-rules.ts';

export const SIDECAR_FILE_NAME = 'keys.raftseal';

const OWNER_READ_WRITE = 0o600;

export interface SidecarFileOptions {
  /** Must exist. */
  readonly directory: string;
  /** Default: the one of this machine. */
  readonly fileSystem?: SidecarFileSystem;
}

export class SidecarFile {
  /** Absolute. */
  readonly path: string;
  readonly #directory: string;
  readonly #fileSystem: SidecarFileSystem;
  /** The state that the next one must follow: the latest written or verified one. */
  #latest: KeyState | undefined;
  /** The fatal error after which nothing is written. */
  #halt: unknown;
  /** Settles, never rejects, once the calls so far are done. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor({ directory, fileSystem = nodeFileSystem }: SidecarFileOptions) {
    this.#directory = resolve(directory);
    this.path = join(this.#directory, SIDECAR_FILE_NAME);
    this.#fileSystem = fileSystem;
  }

  /**
   * Reads the file; undefined where there is none, which means that no `Bootstrap` was applied.
   * Once the result is verified, later writes must follow that state.
   * @throws RAFTSEAL_SIDECAR_DIRECTORY_MISSING, _NOT_REGULAR, _MODE, _READ_FAILED, and what
   *   `decodeSidecar` throws.
   */
  read(): Promise<UnverifiedSidecar | undefined> {
    return this.#enqueue(async () => {
      const bytes = await this.#readBytes();
      return bytes === undefined ? undefined : this.#followOnceVerified(decodeSidecar(bytes));
    });
  }

  /**
   * Replaces the file; resolves once the new content is durable. The state is encoded during the
   * call: `macKey` may be wiped as soon as it returns. A write that failed and is not fatal left
   * the file as it was and may be tried again.
   * @throws TypeError for a state that may not be on disk; RAFTSEAL_SIDECAR_TOO_LARGE;
   *   RAFTSEAL_SIDECAR_REGRESSION (fatal) for one that takes something back, the generation
   *   included; RAFTSEAL_SIDECAR_WRITE_FAILED; RAFTSEAL_SIDECAR_FLUSH_FAILED and
   *   RAFTSEAL_SIDECAR_READBACK (fatal), after which every write throws RAFTSEAL_SIDECAR_HALTED
   *   (fatal).
   */
  async write(state: KeyState, mac: SidecarMac): Promise<void> {
    const bytes = encodeSidecar(state, mac);
    await this.#enqueue(() => this.#replace(state, bytes));
  }

  #enqueue<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = this.#queue.then(task);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #replace(state: KeyState, bytes: Buffer): Promise<void> {
    if (this.#halt !== undefined) throw halted(this.path, this.#halt);
    const problem = this.#latest && successionProblem(this.#latest, state);
    if (problem !== undefined) throw regression(problem);
    try {
      await replaceFile(this.#fileSystem, {
        path: this.path,
        temporaryPath: `${this.path}.tmp`,
        bytes,
      });
    } catch (error) {
      if (error instanceof RaftsealError && error.fatal) this.#halt = error;
      throw error;
    }
    this.#latest = state;
  }

  #followOnceVerified(sidecar: UnverifiedSidecar): UnverifiedSidecar {
    return {
      ...sidecar,
      verify: (macKey) => {
        const state = sidecar.verify(macKey);
        // A write may have overtaken the read.
        if (this.#latest === undefined || this.#latest.generation < state.generation) {
          this.#latest = state;
        }
        return state;
      },
    };
  }

  async #readBytes(): Promise<Buffer | undefined> {
    let handle: SidecarFileHandle;
    try {
      handle = await this.#fileSystem.open(this.path);
    } catch (cause) {
      return await this.#withoutFile(cause);
    }
    try {
      return await withHandle(handle, (open) => readChecked(open, this.path));
    } catch (error) {
      throw error instanceof RaftsealError ? error : readFailed(this.path, error);
    }
  }

  /** What a failed open means: no file, no directory, a link, or trouble. */
  async #withoutFile(cause: unknown): Promise<undefined> {
    const code = codeOf(cause);
    // FreeBSD says EMLINK where POSIX says ELOOP for O_NOFOLLOW; a socket gives ENXIO.
    if (code === 'ELOOP' || code === 'EMLINK' || code === 'ENXIO') throw notRegular(this.path);
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw readFailed(this.path, cause);
    // An unmounted volume must not look like a node that was never bootstrapped.
    if (await this.#fileSystem.isDirectory(this.#directory)) return undefined;
    throw directoryMissing(this.#directory);
  }
}

/** All checks are on the open descriptor, so that nothing can change places after them. */
async function readChecked(handle: SidecarFileHandle, path: string): Promise<Buffer> {
  const { isFile, mode, sizeBytes } = await handle.stat();
  if (!isFile) throw notRegular(path);
  if (mode !== undefined && (mode & ~OWNER_READ_WRITE) !== 0) {
    throw new RaftsealError(
      'RAFTSEAL_SIDECAR_MODE',
      `expected ${path} to have mode 0600; found 0${mode.toString(8)}. ` +
        'Find out who could write it, then run chmod 600.',
    );
  }
  if (sizeBytes > SIDECAR_BYTES_MAX) throw tooLarge(sizeBytes);
  return await readBounded(handle, SIDECAR_BYTES_MAX + 1);
}

/** @internal */
export function directoryMissing(directory: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_SIDECAR_DIRECTORY_MISSING',
    `expected the directory ${directory}; found none. Create it or mount its volume.`,
  );
}

function notRegular(path: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_SIDECAR_NOT_REGULAR',
    `expected ${path} to be a regular file; found a link or a special file. ` +
      'Put the file itself there.',
  );
}

function readFailed(path: string, cause: unknown): RaftsealError {
  const reason = codeOf(cause) ?? 'an error';
  return new RaftsealError(
    'RAFTSEAL_SIDECAR_READ_FAILED',
    `expected to read ${path}; failed with ${reason}. Check the disk and the owner of the file.`,
    { cause },
  );
}

function regression(problem: string): RaftsealError {
  return fatalError(
    'RAFTSEAL_SIDECAR_REGRESSION',
    `expected a key state that follows the recorded one; found that ${problem}. Nothing was ` +
      'written. If the data was restored from a copy, restore the whole data directory.',
  );
}

function halted(path: string, cause: unknown): RaftsealError {
  return fatalError(
    'RAFTSEAL_SIDECAR_HALTED',
    `expected every earlier write of ${path} to be certain; one was not. ` +
      'Check the disk, then restart the node.',
    cause,
  );
}
