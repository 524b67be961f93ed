/**
 * A file system whose every call is a step with a number, so that a test can look, fail or stop
 * before any of them; and one that writes and reads in small pieces.
 */
import type { SidecarFileHandle, SidecarFileSystem } from '../src/index.ts';

export interface Step {
  /** From 1. */
  readonly number: number;
  readonly name: string;
}

/** Calls `before` ahead of each call; what it throws, the call rejects with. */
export function stepped(
  inner: SidecarFileSystem,
  before: (step: Step) => void | Promise<void>,
): SidecarFileSystem {
  let count = 0;
  const step = async <Result>(name: string, call: () => Promise<Result>): Promise<Result> => {
    count += 1;
    await before({ number: count, name });
    return await call();
  };
  const wrap = (handle: SidecarFileHandle): SidecarFileHandle => ({
    write: (bytes, position) => step('write', () => handle.write(bytes, position)),
    read: (into, position) => step('read', () => handle.read(into, position)),
    stat: () => step('stat', () => handle.stat()),
    sync: () => step('sync', () => handle.sync()),
    // A close that reports an error has closed all the same, as on Linux.
    async close() {
      try {
        await step('close', async () => undefined);
      } finally {
        await handle.close();
      }
    },
  });
  return {
    create: (path) => step('create', async () => wrap(await inner.create(path))),
    open: (path) => step('open', async () => wrap(await inner.open(path))),
    rename: (from, to) => step('rename', () => inner.rename(from, to)),
    remove: (path) => step('remove', () => inner.remove(path)),
    isDirectory: (path) => step('isDirectory', () => inner.isDirectory(path)),
    syncDirectory: (path) => step('syncDirectory', () => inner.syncDirectory(path)),
  };
}

/** The same file system as a plain record, to be spread and changed. */
export function asRecord(inner: SidecarFileSystem): SidecarFileSystem {
  return {
    create: (path) => inner.create(path),
    open: (path) => inner.open(path),
    rename: (from, to) => inner.rename(from, to),
    remove: (path) => inner.remove(path),
    isDirectory: (path) => inner.isDirectory(path),
    syncDirectory: (path) => inner.syncDirectory(path),
  };
}

/** Changes what handles do. */
export function withHandles(
  inner: SidecarFileSystem,
  change: (handle: SidecarFileHandle) => Partial<SidecarFileHandle>,
): SidecarFileSystem {
  const changed = (handle: SidecarFileHandle): SidecarFileHandle => ({
    ...handle,
    ...change(handle),
  });
  return {
    ...asRecord(inner),
    create: async (path) => changed(await inner.create(path)),
    open: async (path) => changed(await inner.open(path)),
  };
}

/** Writes and reads at most `piece` bytes a call, as POSIX allows any file system to. */
export function inPieces(inner: SidecarFileSystem, piece: number): SidecarFileSystem {
  return withHandles(inner, (handle) => ({
    write: (bytes, position) => handle.write(bytes.subarray(0, piece), position),
    read: (into, position) => handle.read(into.subarray(0, piece), position),
  }));
}

/** An error as Node's file system throws it. */
export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: planted`), { code });
}
