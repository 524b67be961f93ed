/**
 * The files of a node, with what a crash leaves of them. Content reaches the disk by `sync` of the
 * handle, names by `syncDirectory`. A process that is killed leaves everything as it was written; a
 * power cut leaves of what was not flushed whatever the seed says: of the content nothing, a part or
 * all, of the changes of names any.
 */

import type { Random } from '@raftseal/rigs/random';
import type { SidecarFileHandle, SidecarFileSystem } from '@raftseal/sidecar';
import type { Life } from './life.ts';

interface Inode {
  content: Buffer;
  flushed: Buffer;
}

type NameChange = (names: Map<string, Inode>) => void;

export class SimulatedFiles {
  #names = new Map<string, Inode>();
  #flushedNames = new Map<string, Inode>();
  #unflushed: NameChange[] = [];

  /** As a copy of the disk has it. */
  copy(): SimulatedFiles {
    const copy = new SimulatedFiles();
    for (const [path, { content }] of this.#names) {
      copy.#names.set(path, { content, flushed: content });
    }
    copy.#flushedNames = new Map(copy.#names);
    return copy;
  }

  /** Puts back what a copy has. */
  becomeAs(copy: SimulatedFiles): void {
    this.#names = new Map(copy.#names);
    this.#flushedNames = new Map(copy.#names);
    this.#unflushed = [];
  }

  /** The power is cut: what was not flushed is there or not. */
  loseUnflushed(random: Random): void {
    const names = new Map(this.#flushedNames);
    for (const change of this.#unflushed) if (random.chance(0.5)) change(names);
    for (const inode of names.values()) {
      if (inode.content === inode.flushed) continue;
      const { content, flushed } = inode;
      const half = content.subarray(0, content.length >> 1);
      inode.content = random.pick([flushed, content, half, Buffer.alloc(content.length)]);
      inode.flushed = inode.content;
    }
    this.#names = names;
    this.#flushedNames = new Map(names);
    this.#unflushed = [];
  }

  /** For one process. */
  open(life: Life): SidecarFileSystem {
    return {
      create: (path) =>
        life.io(() => {
          if (this.#names.has(path)) throw systemError('EEXIST');
          const inode: Inode = { content: NOTHING, flushed: NOTHING };
          this.#change((names) => names.set(path, inode));
          return handleOf(inode, life);
        }),
      open: (path) =>
        life.io(() => {
          const inode = this.#names.get(path);
          if (inode === undefined) throw systemError('ENOENT');
          return handleOf(inode, life);
        }),
      rename: (from, to) =>
        life.io(() => {
          const inode = this.#names.get(from);
          if (inode === undefined) throw systemError('ENOENT');
          this.#change((names) => {
            names.delete(from);
            names.set(to, inode);
          });
        }),
      remove: (path) =>
        life.io(() => {
          if (this.#names.has(path)) this.#change((names) => names.delete(path));
        }),
      isDirectory: () => life.io(() => true),
      syncDirectory: () =>
        life.io(() => {
          this.#flushedNames = new Map(this.#names);
          this.#unflushed = [];
        }),
    };
  }

  #change(change: NameChange): void {
    change(this.#names);
    this.#unflushed.push(change);
  }
}

const NOTHING = Buffer.alloc(0);

function handleOf(inode: Inode, life: Life): SidecarFileHandle {
  return {
    write: (bytes, position) =>
      life.io(() => {
        const length = Math.max(inode.content.length, position + bytes.length);
        const content = Buffer.concat([inode.content], length);
        content.set(bytes, position);
        inode.content = content;
        return bytes.length;
      }),
    read: (into, position) => life.io(() => inode.content.copy(into, 0, position)),
    stat: () => life.io(() => ({ isFile: true, mode: 0o600, sizeBytes: inode.content.length })),
    sync: () =>
      life.io(() => {
        inode.flushed = inode.content;
      }),
    close: async () => undefined,
  };
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}
