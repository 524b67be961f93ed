/**
 * The one block of memory that a module reads from and writes to. Every argument that is no plain
 * number is laid out in it, so that nothing moves or is collected during a call, and one fill wipes
 * PINs and DEKs.
 *
 * All structures of PKCS#11 that are used consist of CK_ULONG and pointers. On Unix both have the
 * size of a machine word; on Windows CK_ULONG has 4 bytes, and structures are packed. Either way
 * fields follow each other without padding.
 */
import { endianness } from 'node:os';
import koffi from 'koffi';

/** Where something lies. */
export interface Place {
  readonly address: bigint;
  readonly offset: number;
  readonly length: number;
}

/** A field of a structure: a number is a CK_ULONG, a bigint is a pointer. */
export type Field = number | bigint;

export const NULL = 0n;

export const ULONG_BYTES: number = koffi.sizeof('ulong');
export const POINTER_BYTES: number = koffi.sizeof('void *');

const MEMORY_BYTES = 32 * 1024;
const ALIGNMENT = 16;
const isLittleEndian = endianness() === 'LE';

export class NativeMemory {
  readonly #buffer = new ArrayBuffer(MEMORY_BYTES);
  readonly #bytes = new Uint8Array(this.#buffer);
  readonly #view = new DataView(this.#buffer);
  readonly #base: bigint = koffi.address(this.#buffer);
  #used = 0;

  /** Wipes what was laid out; its places must not be used again. */
  wipe(): void {
    this.#bytes.fill(0, 0, this.#used);
    this.#used = 0;
  }

  /** Room of zero bytes. */
  room(length: number): Place {
    const offset = this.#used;
    const end = offset + Math.ceil(length / ALIGNMENT) * ALIGNMENT;
    if (end > MEMORY_BYTES) throw new RangeError(`no room for ${length} bytes in native memory`);
    this.#used = end;
    return { address: this.#base + BigInt(offset), offset, length };
  }

  put(bytes: Uint8Array): Place {
    const place = this.room(bytes.length);
    this.#bytes.set(bytes, place.offset);
    return place;
  }

  struct(...fields: readonly Field[]): Place {
    const sizes = fields.map((field) => (typeof field === 'number' ? ULONG_BYTES : POINTER_BYTES));
    const place = this.room(sizes.reduce((sum, size) => sum + size, 0));
    let at = place.offset;
    for (const [index, field] of fields.entries()) {
      const size = sizes[index] ?? 0;
      this.#writeWord(at, size, BigInt(field));
      at += size;
    }
    return place;
  }

  /** A copy of the first bytes at a place. */
  read(place: Place, length: number = place.length): Uint8Array {
    return this.#bytes.slice(place.offset, place.offset + length);
  }

  /** The CK_ULONG at a place, or so many bytes behind it. */
  readUlong({ offset }: Place, behind = 0): number {
    return Number(this.#readWord(offset + behind, ULONG_BYTES));
  }

  readPointer({ offset }: Place): bigint {
    return this.#readWord(offset, POINTER_BYTES);
  }

  #writeWord(at: number, size: number, value: bigint): void {
    if (size === 8) this.#view.setBigUint64(at, value, isLittleEndian);
    else this.#view.setUint32(at, Number(value), isLittleEndian);
  }

  #readWord(at: number, size: number): bigint {
    if (size === 8) return this.#view.getBigUint64(at, isLittleEndian);
    return BigInt(this.#view.getUint32(at, isLittleEndian));
  }
}
