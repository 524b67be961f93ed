/**
 * The few things that the sidecar asks of a file system, as a port: a test can stop, fail or
 * shorten any of them. Errors are those of Node, known by their `code`.
 */
import { constants, type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { codeOf } from '@raftseal/interface';

export interface SidecarFileHandle {
  /** Writes some of `bytes` at `position`; resolves to how many, which may be fewer. */
  write(bytes: Uint8Array, position: number): Promise<number>;
  /** Fills some of `into` from `position`; resolves to how many bytes, 0 at the end. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** `mode` is the permission bits; undefined where the platform has none. */
  stat(): Promise<{ isFile: boolean; mode: number | undefined; sizeBytes: number }>;
  /** Resolves once content and size are on stable storage. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface SidecarFileSystem {
  /** Creates a file of mode 0600 for writing and reading; EEXIST where anything has that name. */
  create(path: string): Promise<SidecarFileHandle>;
  /** Opens for reading; ELOOP for a symbolic link; never waits for the other end of a FIFO. */
  open(path: string): Promise<SidecarFileHandle>;
  /** Puts `from` in the place of `to` in one step. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; nothing happens where there is none. */
  remove(path: string): Promise<void>;
  /** True for an existing directory. */
  isDirectory(path: string): Promise<boolean>;
  /** Resolves once the names in a directory are on stable storage. */
  syncDirectory(path: string): Promise<void>;
}

const onWindows = process.platform === 'win32';
// Windows has neither flag: the constants are undefined there.
const noFollow = constants.O_NOFOLLOW ?? 0;
const nonBlocking = constants.O_NONBLOCK ?? 0;

/** The file system of this machine. */
export const nodeFileSystem: SidecarFileSystem = {
  async create(path) {
    const flags = constants.O_CREAT | constants.O_EXCL | constants.O_RDWR | noFollow;
    return nodeHandle(await open(path, flags, 0o600));
  },
  async open(path) {
    return nodeHandle(await open(path, constants.O_RDONLY | noFollow | nonBlocking));
  },
  rename,
  async remove(path) {
    await rm(path, { force: true });
  },
  async isDirectory(path) {
    try {
      return (await stat(path)).isDirectory();
    } catch (error) {
      const code = codeOf(error);
      if (code === 'ENOENT' || code === 'ENOTDIR') return false;
      throw error;
    }
  },
  async syncDirectory(path) {
    // Windows has no flush of a directory: NTFS journals the rename itself.
    if (onWindows) return;
    const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
};

function nodeHandle(handle: FileHandle): SidecarFileHandle {
  return {
    write: async (bytes, position) =>
      (await handle.write(bytes, 0, bytes.length, position)).bytesWritten,
    read: async (into, position) => (await handle.read(into, 0, into.length, position)).bytesRead,
    async stat() {
      const stats = await handle.stat();
      const mode = onWindows ? undefined : stats.mode & 0o7777;
      return { isFile: stats.isFile(), mode, sizeBytes: stats.size };
    },
    sync: () => handle.sync(),
    close: () => handle.close(),
  };
}
