/**
 * A disk in memory that forgets what was not flushed. Content reaches it by `sync` of the handle,
 * names by `syncDirectory`; until then a power cut may keep any of it: of a file nothing, zeros, a
 * part or all; of the changes of names any subset. Weaker than any real file system: what survives
 * here survives there.
 */
import type { SidecarFileHandle, SidecarFileSystem } from '../src/index.ts';
import { systemError } from './stepped-file-system.ts';

interface Inode {
  content: Buffer;
  flushed: Buffer;
}

type Names = ReadonlyMap<string, Inode>;
type NameChange = (names: Map<string, Inode>) => void;

/** What a disk may hold after a power cut: path to content. */
export type Image = ReadonlyMap<string, Buffer>;

export class VolatileDisk implements SidecarFileSystem {
  #names = new Map<string, Inode>();
  #flushedNames: Names = new Map();
  #pending: NameChange[] = [];

  /** Every image that a power cut now may leave. */
  *imagesAfterPowerCut(): Iterable<Image> {
    for (let subset = 0; subset < 1 << this.#pending.length; subset++) {
      const names = new Map(this.#flushedNames);
      this.#pending.forEach((change, at) => {
        if ((subset >> at) & 1) change(names);
      });
      yield* imagesOf([...names]);
    }
  }

  async create(path: string): Promise<SidecarFileHandle> {
    if (this.#names.has(path)) throw systemError('EEXIST');
    const inode: Inode = { content: Buffer.alloc(0), flushed: Buffer.alloc(0) };
    this.#change((names) => names.set(path, inode));
    return handleOf(inode);
  }

  async open(path: string): Promise<SidecarFileHandle> {
    const inode = this.#names.get(path);
    if (inode === undefined) throw systemError('ENOENT');
    return handleOf(inode);
  }

  async rename(from: string, to: string): Promise<void> {
    const inode = this.#names.get(from);
    if (inode === undefined) throw systemError('ENOENT');
    this.#change((names) => {
      names.delete(from);
      names.set(to, inode);
    });
  }

  async remove(path: string): Promise<void> {
    if (this.#names.has(path)) this.#change((names) => names.delete(path));
  }

  async isDirectory(): Promise<boolean> {
    return true;
  }

  async syncDirectory(): Promise<void> {
    this.#flushedNames = new Map(this.#names);
    this.#pending = [];
  }

  #change(change: NameChange): void {
    change(this.#names);
    this.#pending.push(change);
  }
}

/** Every combination of what may be left of each file's content. */
function* imagesOf(names: readonly (readonly [string, Inode])[]): Iterable<Image> {
  const [first, ...rest] = names;
  if (first === undefined) {
    yield new Map();
    return;
  }
  const [path, { content, flushed }] = first;
  const half = content.subarray(0, content.length >> 1);
  const torn = Buffer.concat([half, flushed.subarray(half.length)]);
  for (const image of imagesOf(rest)) {
    if (flushed.equals(content)) {
      yield new Map([...image, [path, content]]);
      continue;
    }
    for (const left of [flushed, content, half, torn, Buffer.alloc(content.length)]) {
      yield new Map([...image, [path, left]]);
    }
  }
}

function handleOf(inode: Inode): SidecarFileHandle {
  return {
    async write(bytes, position) {
      const length = Math.max(inode.content.length, position + bytes.length);
      const content = Buffer.concat([inode.content], length);
      content.set(bytes, position);
      inode.content = content;
      return bytes.length;
    },
    read: async (into, position) => inode.content.copy(into, 0, position),
    stat: async () => ({ isFile: true, mode: 0o600, sizeBytes: inode.content.length }),
    async sync() {
      inode.flushed = Buffer.from(inode.content);
    },
    close: async () => undefined,
  };
}
