/**
 * The few file operations that a log needs, as a port, so that tests can let each of them fail.
 *
 * `writeFlushed` is the hot path: on Linux one `pwritev` on a descriptor opened with O_DSYNC, which
 * is one trip through the thread pool where write and fdatasync are two. Elsewhere it is those
 * two: on macOS only libuv's fdatasync (F_FULLFSYNC) reaches the device. The event loop never
 * waits for a disk.
 */
import fs from 'node:fs';
import { dirname, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type DirectoryLock, lockDirectory } from './directory-lock.ts';

export interface LogFile {
  /** Reads into `target` from `position`; the number of bytes read, 0 at the end of the file. */
  read(target: Uint8Array, position: number): Promise<number>;
  /** Writes some of the bytes, one at least; returns how many, all of them on the device. */
  writeFlushed(buffers: readonly Uint8Array[], position: number): Promise<number>;
  /** Writes some of the bytes, one at least, without a flush. */
  write(bytes: Uint8Array, position: number): Promise<number>;
  /** Makes everything written to the file durable, its length included. */
  flush(): Promise<void>;
  byteLength(): Promise<number>;
  close(): Promise<void>;
}

export interface LogFiles {
  /**
   * `create`: a new file, 0600, that must not exist. `durable`: an existing file for
   * `writeFlushed`. `read`: an existing file for reading.
   */
  open(path: string, access: 'create' | 'durable' | 'read'): Promise<LogFile>;
  /** Makes the directory, 0700, and those above it, and their names durable. */
  makeDirectory(path: string): Promise<void>;
  list(path: string): Promise<readonly string[]>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes the names in a directory durable. */
  flushDirectory(path: string): Promise<void>;
  /**
   * Keeps others from opening the log in a directory, until `release`.
   * @throws RAFTSEAL_ENGINE_LOCKED
   */
  lock(path: string): Promise<DirectoryLock>;
}

const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR } = fs.constants;
const oneTrip = process.platform === 'linux';
const O_DURABLE = oneTrip ? fs.constants.O_DSYNC : 0;

const openFlags = {
  create: O_RDWR | O_CREAT | O_EXCL,
  durable: O_RDWR | O_DURABLE,
  read: O_RDONLY,
} as const;

const openDescriptor = promisify(fs.open);
const closeDescriptor = promisify(fs.close);
const fsync = promisify(fs.fsync);

export const nodeLogFiles: LogFiles = {
  open: async (path, access) => nodeLogFile(await openDescriptor(path, openFlags[access], 0o600)),
  makeDirectory,
  list: (path) => fs.promises.readdir(path),
  rename: (from, to) => fs.promises.rename(from, to),
  remove: (path) => fs.promises.unlink(path),
  flushDirectory,
  lock: lockDirectory,
};

function nodeLogFile(fd: number): LogFile {
  return {
    read: (target, position) =>
      new Promise((settle, reject) => {
        fs.read(fd, target, 0, target.byteLength, position, (error, count) => {
          if (error) reject(error);
          else settle(count);
        });
      }),
    writeFlushed: (buffers, position) =>
      new Promise((settle, reject) => {
        fs.writev(fd, buffers, position, (error, count) => {
          if (error) reject(error);
          else if (oneTrip) settle(count);
          else fs.fdatasync(fd, (failed) => (failed ? reject(failed) : settle(count)));
        });
      }),
    write: (bytes, position) =>
      new Promise((settle, reject) => {
        fs.write(fd, bytes, 0, bytes.byteLength, position, (error, count) => {
          if (error) reject(error);
          else settle(count);
        });
      }),
    flush: () => fsync(fd),
    byteLength: async () => (await promisify(fs.fstat)(fd)).size,
    close: () => closeDescriptor(fd),
  };
}

async function makeDirectory(path: string): Promise<void> {
  const first = await fs.promises.mkdir(path, { recursive: true, mode: 0o700 });
  await fs.promises.chmod(path, 0o700);
  if (first === undefined) return;
  for (let made = resolve(path); ; made = dirname(made)) {
    await flushDirectory(dirname(made));
    if (made === resolve(first) || made === dirname(made)) return;
  }
}

async function flushDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const fd = await openDescriptor(path, O_RDONLY, 0);
  try {
    await fsync(fd);
  } finally {
    await closeDescriptor(fd);
  }
}

/** Writes every byte, in as many pieces as the file takes them, each of them flushed. */
export async function writeAllFlushed(
  file: LogFile,
  buffers: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let rest = buffers;
  let at = position;
  while (rest.length > 0) {
    const written = await file.writeFlushed(rest, at);
    if (written <= 0) throw new Error(`a write at ${at} took no byte`);
    at += written;
    rest = withoutFirst(rest, written);
  }
}

/** Writes every byte, in as many pieces as the file takes them, without a flush. */
export async function writeAll(file: LogFile, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const written = await file.write(bytes.subarray(done), position + done);
    if (written <= 0) throw new Error(`a write at ${position + done} took no byte`);
    done += written;
  }
}

/** Fills `target` from `position`; fewer bytes than its length mean the end of the file. */
export async function readFully(
  file: LogFile,
  target: Uint8Array,
  position: number,
): Promise<number> {
  let done = 0;
  while (done < target.byteLength) {
    const count = await file.read(target.subarray(done), position + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

function withoutFirst(buffers: readonly Uint8Array[], byteLength: number): Uint8Array[] {
  let left = byteLength;
  const rest: Uint8Array[] = [];
  for (const buffer of buffers) {
    if (left >= buffer.byteLength) {
      left -= buffer.byteLength;
    } else {
      rest.push(left === 0 ? buffer : buffer.subarray(left));
      left = 0;
    }
  }
  return rest;
}
