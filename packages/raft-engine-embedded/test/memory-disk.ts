/**
 * A disk in memory that forgets what was not flushed. A power cut keeps, of the writes that were
 * not flushed, any subset of 512-byte sectors, and of the changes of names any prefix: what a
 * journaling file system on a device with atomic sectors may leave.
 */
import { basename, dirname } from 'node:path';
import type { LogFile, LogFiles } from '../src/index.ts';

const SECTOR_BYTES = 512;

export type DiskOperation =
  | 'open'
  | 'read'
  | 'writeFlushed'
  | 'write'
  | 'flush'
  | 'rename'
  | 'remove'
  | 'flushDirectory';

interface Inode {
  cached: Buffer;
  durable: Buffer;
  readonly dirty: Set<number>;
}

type NameChange = (names: Map<string, Inode>) => void;

export class MemoryDisk implements LogFiles {
  /** Called before each operation; what it throws is how the operation fails. */
  onOperation: (operation: DiskOperation, name: string) => void = () => {};
  /** Flushes of this kind report success and do nothing: a planted fault. */
  lie: 'writeFlushed' | 'flushDirectory' | undefined;
  /** Bytes that one write takes at most. */
  writeBytesMax: number = Number.POSITIVE_INFINITY;
  readonly counts: Map<DiskOperation, number> = new Map();
  readonly #names: Map<string, Inode>;
  readonly #durableNames: Map<string, Inode>;
  readonly #nameChanges: NameChange[] = [];

  constructor(names: ReadonlyMap<string, Buffer> = new Map()) {
    this.#names = new Map();
    for (const [path, bytes] of names) {
      const cached = Buffer.from(bytes);
      this.#names.set(path, { cached, durable: Buffer.from(bytes), dirty: new Set() });
    }
    this.#durableNames = new Map(this.#names);
  }

  /** The bytes of every file as they are read. */
  contents(): Map<string, Buffer> {
    return new Map([...this.#names].map(([path, { cached }]) => [path, Buffer.from(cached)]));
  }

  /** What a power cut leaves. @param keep decides for each sector and name change in doubt. */
  afterPowerCut(keep: () => boolean): MemoryDisk {
    const names = new Map(this.#durableNames);
    for (const change of this.#nameChanges) {
      if (!keep()) break;
      change(names);
    }
    const images = new Map<Inode, Buffer>();
    const contents = new Map<string, Buffer>();
    for (const [path, inode] of names) {
      const image = images.get(inode) ?? imageOf(inode, keep);
      images.set(inode, image);
      contents.set(path, image);
    }
    return new MemoryDisk(contents);
  }

  async open(path: string, access: 'create' | 'durable' | 'read'): Promise<LogFile> {
    await this.#operation('open', path);
    let inode = this.#names.get(path);
    if (access === 'create') {
      if (inode !== undefined) throw systemError('EEXIST', path);
      const made: Inode = { cached: Buffer.alloc(0), durable: Buffer.alloc(0), dirty: new Set() };
      inode = made;
      this.#change((names) => names.set(path, made));
    }
    if (inode === undefined) throw systemError('ENOENT', path);
    return this.#file(inode, path);
  }

  async makeDirectory(): Promise<void> {}

  async list(path: string): Promise<string[]> {
    return [...this.#names.keys()].filter((name) => dirname(name) === path).map((p) => basename(p));
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#operation('rename', to);
    const inode = this.#names.get(from);
    if (inode === undefined) throw systemError('ENOENT', from);
    this.#change((names) => {
      names.delete(from);
      names.set(to, inode);
    });
  }

  async remove(path: string): Promise<void> {
    await this.#operation('remove', path);
    if (!this.#names.has(path)) throw systemError('ENOENT', path);
    this.#change((names) => names.delete(path));
  }

  async flushDirectory(path: string): Promise<void> {
    await this.#operation('flushDirectory', path);
    if (this.lie === 'flushDirectory') return;
    for (const change of this.#nameChanges.splice(0)) change(this.#durableNames);
  }

  async lock(): Promise<{ release: () => Promise<void> }> {
    return { release: async () => {} };
  }

  #file(inode: Inode, path: string): LogFile {
    let open = true;
    const operation = async (name: DiskOperation): Promise<void> => {
      if (!open) throw systemError('EBADF', path);
      await this.#operation(name, path);
    };
    const store = (buffers: readonly Uint8Array[], position: number): number => {
      const bytes = Buffer.concat(buffers).subarray(0, this.writeBytesMax);
      const end = position + bytes.length;
      if (inode.cached.length < end) {
        inode.cached = Buffer.concat([inode.cached, Buffer.alloc(end - inode.cached.length)]);
      }
      bytes.copy(inode.cached, position);
      const last = Math.floor((end - 1) / SECTOR_BYTES);
      for (let s = Math.floor(position / SECTOR_BYTES); s <= last; s++) inode.dirty.add(s);
      return bytes.length;
    };
    const flush = (): void => {
      inode.durable = imageOf(inode, () => true);
      inode.dirty.clear();
    };
    return {
      read: async (target, position) => {
        await operation('read');
        const bytes = inode.cached.subarray(position, position + target.byteLength);
        target.set(bytes);
        return bytes.length;
      },
      writeFlushed: async (buffers, position) => {
        // The bytes reach the cache first: a failure after that leaves them in doubt.
        const count = store(buffers, position);
        await operation('writeFlushed');
        if (this.lie !== 'writeFlushed') flush();
        return count;
      },
      write: async (bytes, position) => {
        await operation('write');
        return store([bytes], position);
      },
      flush: async () => {
        await operation('flush');
        flush();
      },
      byteLength: async () => inode.cached.length,
      close: async () => {
        open = false;
      },
    };
  }

  async #operation(operation: DiskOperation, path: string): Promise<void> {
    await Promise.resolve();
    this.counts.set(operation, (this.counts.get(operation) ?? 0) + 1);
    this.onOperation(operation, basename(path));
  }

  #change(change: NameChange): void {
    change(this.#names);
    this.#nameChanges.push(change);
  }
}

function imageOf(inode: Inode, keep: () => boolean): Buffer {
  if (inode.dirty.size === 0) return Buffer.from(inode.durable);
  const kept = [...inode.dirty].filter(() => keep());
  const length = kept.length > 0 ? inode.cached.length : inode.durable.length;
  const image = Buffer.alloc(Math.max(length, inode.durable.length));
  inode.durable.copy(image);
  for (const sector of kept) {
    const start = sector * SECTOR_BYTES;
    inode.cached.copy(image, start, start, Math.min(start + SECTOR_BYTES, inode.cached.length));
  }
  return image;
}

export function systemError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
