/**
 * Reads the frames of a snapshot out of chunks, wherever these begin and end. Nothing is allocated
 * for a length before so many bytes have come, and a length has a bound for each kind.
 */
import { createHash, type Hash } from 'node:crypto';
import { ROW_HEADER_BYTES } from './row-codec.ts';
import { ROW_KEY_BYTES } from './row-table.ts';
import {
  DIGEST_BYTES,
  decodeSnapshotHeader,
  END_COUNTS_BYTES,
  FRAME_END,
  FRAME_HEADER_BYTES,
  FRAME_META_CLEAR,
  FRAME_META_SEALED,
  FRAME_ROW_CLEAR,
  FRAME_ROW_SEALED,
  FRAME_SEAL,
  SNAPSHOT_HEADER_BYTES,
  type SnapshotCounts,
  type SnapshotHeader,
  snapshotInvalid,
} from './snapshot-format.ts';

const ROW_BYTES_MAX = 2 ** 31 - 1;
const SMALL_BYTES_MAX = 1024;
const HASHED_BYTES = 1 << 16;
const END_BYTES = END_COUNTS_BYTES + DIGEST_BYTES;

/** Lengths of bodies, by kind: the least and the most. */
const bounds: ReadonlyMap<number, readonly [number, number]> = new Map([
  [FRAME_META_CLEAR, [ROW_HEADER_BYTES, SMALL_BYTES_MAX]],
  [FRAME_META_SEALED, [ROW_HEADER_BYTES, SMALL_BYTES_MAX]],
  [FRAME_ROW_CLEAR, [ROW_KEY_BYTES + ROW_HEADER_BYTES, ROW_BYTES_MAX]],
  [FRAME_ROW_SEALED, [ROW_KEY_BYTES + ROW_HEADER_BYTES, ROW_BYTES_MAX]],
  [FRAME_END, [END_BYTES, END_BYTES]],
  [FRAME_SEAL, [1, SMALL_BYTES_MAX]],
]);

export interface SnapshotFrame {
  readonly kind: number;
  /** Valid until the next frame is read. */
  readonly body: Buffer;
}

export class SnapshotReader {
  readonly #iterator: AsyncIterator<Uint8Array>;
  /** Undefined once the end was read: what follows is not in the digest. */
  #hash: Hash | undefined = createHash('sha256');
  #bytes: Buffer = Buffer.alloc(0);
  #position = 0;
  /** Bytes before this one are in the digest. */
  #hashed = 0;
  #ended = false;
  #interruption: Error | undefined;
  #interrupt: ((error: Error) => void) | undefined;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#iterator = chunks[Symbol.asyncIterator]();
  }

  /** @throws RAFTSEAL_KV_SNAPSHOT_INVALID, and what the chunks throw */
  async header(): Promise<SnapshotHeader> {
    await this.#need(SNAPSHOT_HEADER_BYTES);
    return decodeSnapshotHeader(this.#take(SNAPSHOT_HEADER_BYTES));
  }

  /**
   * The next frame where all of it has come; else `more` is to be awaited.
   * @throws RAFTSEAL_KV_SNAPSHOT_INVALID
   */
  frame(): SnapshotFrame | undefined {
    const length = this.#frameBytes();
    if (length === undefined || this.#left < length) return undefined;
    if (this.#position - this.#hashed >= HASHED_BYTES) this.#digestTo(this.#position);
    const kind = this.#bytes[this.#position] ?? 0;
    return { kind, body: this.#take(length).subarray(FRAME_HEADER_BYTES) };
  }

  /** Waits for what the next frame lacks. @throws as `header` */
  async more(): Promise<void> {
    await this.#need(FRAME_HEADER_BYTES);
    await this.#need(this.#frameBytes() ?? 0);
  }

  /**
   * What the end frame says, which is the latest that was read.
   * @throws RAFTSEAL_KV_SNAPSHOT_INVALID where the digest is another than that of what was read
   */
  end({ body }: SnapshotFrame): SnapshotCounts & { readonly digest: Buffer } {
    this.#digestTo(this.#position - DIGEST_BYTES);
    const digest = Buffer.from(body.subarray(END_COUNTS_BYTES));
    const found = this.#hash?.digest();
    this.#hash = undefined;
    if (found === undefined || !found.equals(digest)) {
      throw snapshotInvalid('its digest is another than that of what was received');
    }
    return { clear: body.readBigUInt64BE(0), sealed: body.readBigUInt64BE(8), digest };
  }

  /** @throws RAFTSEAL_KV_SNAPSHOT_INVALID where anything follows, and what the chunks throw */
  async finish(): Promise<void> {
    for (;;) {
      if (this.#left > 0) throw snapshotInvalid('something follows its end');
      if (this.#ended) return;
      this.#bytes = (await this.#next()) ?? this.#bytes.subarray(this.#position);
      this.#position = 0;
    }
  }

  /** Tells the chunks that no more of them are asked for. */
  abandon(): void {
    if (this.#ended) return;
    this.#ended = true;
    // It settles when the chunk that is on its way does, if ever: nobody waits for it.
    this.#iterator.return?.()?.then(undefined, () => undefined);
  }

  /** Makes the call that waits, and every later one that would, throw this. */
  interrupt(error: Error): void {
    this.#interruption = error;
    this.#interrupt?.(error);
  }

  get #left(): number {
    return this.#bytes.length - this.#position;
  }

  /** Bytes of the next frame; undefined where its header is not there. */
  #frameBytes(): number | undefined {
    if (this.#left < FRAME_HEADER_BYTES) return undefined;
    const kind = this.#bytes[this.#position] ?? 0;
    const length = this.#bytes.readUInt32BE(this.#position + 1);
    const bound = bounds.get(kind);
    if (bound === undefined) throw snapshotInvalid('it has a frame of a kind that is not known');
    const [min, max] = bound;
    if (length < min || length > max) throw snapshotInvalid('a frame has no length of its kind');
    return FRAME_HEADER_BYTES + length;
  }

  #take(length: number): Buffer {
    const from = this.#position;
    this.#position += length;
    return this.#bytes.subarray(from, this.#position);
  }

  #digestTo(position: number): void {
    this.#hash?.update(this.#bytes.subarray(this.#hashed, position));
    this.#hashed = position;
  }

  /** Waits until so many bytes are at hand. */
  async #need(length: number): Promise<void> {
    if (this.#left >= length) return;
    this.#digestTo(this.#position);
    const parts = [this.#bytes.subarray(this.#position)];
    for (let left = length - this.#left; left > 0; ) {
      const chunk = await this.#next();
      if (chunk === undefined) throw snapshotInvalid('it ends early');
      parts.push(chunk);
      left -= chunk.length;
    }
    this.#bytes = Buffer.concat(parts);
    this.#position = 0;
    this.#hashed = 0;
  }

  async #next(): Promise<Buffer | undefined> {
    const result = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
      if (this.#interruption !== undefined) throw this.#interruption;
      this.#interrupt = reject;
      this.#iterator.next().then(resolve, reject);
    });
    this.#interrupt = undefined;
    if (result.done === true) {
      this.#ended = true;
      return undefined;
    }
    const { buffer, byteOffset, byteLength } = result.value;
    return Buffer.from(buffer, byteOffset, byteLength);
  }
}
