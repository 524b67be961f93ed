/**
 * The changes of one checkpoint as bytes in chunks, which travel to the store's thread without
 * being copied. All integers are big-endian.
 *
 * | operation | bytes |
 * | --- | --- |
 * | put | `1 | table u8 | keyLength u16 | valueLength u32 | key | value` |
 * | delete | `2 | table u8 | keyLength u16 | 0 u32 | key` |
 * | clear the table | `3 | table u8 | 0 u16 | 0 u32` |
 *
 * Invariants: no two puts or deletes of one batch name the same key of the same table; clears take
 * effect before everything else.
 */
export const OPERATION_PUT = 1;
export const OPERATION_DELETE = 2;
export const OPERATION_CLEAR = 3;
export const OPERATION_HEADER_BYTES = 8;

/** Size of every chunk but those for larger values. */
export const CHUNK_BYTES: number = 1 << 20;

/** A filled chunk; its buffer is its own, so that it can be transferred. */
export type Chunk = Uint8Array<ArrayBuffer>;

export interface ChunkFlow {
  /** A buffer of CHUNK_BYTES. */
  readonly allocate: () => ArrayBuffer;
  /** Is given each chunk as soon as it is full, to keep. */
  readonly filled: (chunk: Chunk) => void;
}

export class WriteBatch {
  readonly #flow: ChunkFlow;
  #chunk: Buffer<ArrayBuffer> | undefined;
  #used = 0;

  constructor(flow: ChunkFlow) {
    this.#flow = flow;
  }

  /** @param parts are written one after the other as the value. */
  put(table: number, key: Buffer, first: Buffer, second: Buffer): void {
    const valueBytes = first.length + second.length;
    const chunk = this.#operation(OPERATION_PUT, table, key, valueBytes);
    first.copy(chunk, this.#used);
    second.copy(chunk, this.#used + first.length);
    this.#used += valueBytes;
  }

  delete(table: number, key: Buffer): void {
    this.#operation(OPERATION_DELETE, table, key, 0);
  }

  clear(table: number): void {
    this.#operation(OPERATION_CLEAR, table, Buffer.alloc(0), 0);
  }

  /** Hands over the last chunk. */
  finish(): void {
    if (this.#chunk !== undefined) this.#flow.filled(this.#chunk.subarray(0, this.#used));
    this.#chunk = undefined;
  }

  /** Writes the operation up to its value, for which it leaves room behind `#used`. */
  #operation(operation: number, table: number, key: Buffer, valueBytes: number): Buffer {
    const need = OPERATION_HEADER_BYTES + key.length + valueBytes;
    if (this.#chunk !== undefined && this.#used + need > this.#chunk.length) this.finish();
    if (this.#chunk === undefined) {
      const large = need > CHUNK_BYTES;
      this.#chunk = Buffer.from(large ? new ArrayBuffer(need) : this.#flow.allocate());
      this.#used = 0;
    }
    const chunk = this.#chunk;
    const at = this.#used;
    chunk[at] = operation;
    chunk[at + 1] = table;
    chunk.writeUInt16BE(key.length, at + 2);
    chunk.writeUInt32BE(valueBytes, at + 4);
    key.copy(chunk, at + OPERATION_HEADER_BYTES);
    this.#used = at + OPERATION_HEADER_BYTES + key.length;
    return chunk;
  }
}

/** One operation of a batch; its buffers are views of the chunk. */
export type StoreOperation =
  | { readonly kind: 'put'; readonly table: number; readonly key: Buffer; readonly value: Buffer }
  | { readonly kind: 'delete'; readonly table: number; readonly key: Buffer }
  | { readonly kind: 'clear'; readonly table: number };

/** The operations of a chunk, in the order in which they were batched. */
export function* operationsOf(chunk: Chunk): Generator<StoreOperation> {
  const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const operation = bytes[at];
    const table = bytes[at + 1] ?? 0;
    const keyEnd = at + OPERATION_HEADER_BYTES + bytes.readUInt16BE(at + 2);
    const valueEnd = keyEnd + bytes.readUInt32BE(at + 4);
    const key = bytes.subarray(at + OPERATION_HEADER_BYTES, keyEnd);
    if (operation === OPERATION_CLEAR) yield { kind: 'clear', table };
    else if (operation === OPERATION_DELETE) yield { kind: 'delete', table, key };
    else yield { kind: 'put', table, key, value: bytes.subarray(keyEnd, valueEnd) };
    at = valueEnd;
  }
}
