/**
 * A snapshot as the body of a reply: the length of its header as u32, big-endian, the header, then
 * what the chunks hold. A body that was cut off fails as an HTTP message, whatever is in it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { codeOf } from '@raftseal/interface';
import type { PeerSnapshot } from './operations.ts';

const LENGTH_BYTES = 4;
const HEADER_BYTES_MAX = 16 * 1024 * 1024;

/** How a connection ends whose other side went away. */
const partings = ['ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED', 'ECONNRESET', 'EPIPE'];

/**
 * Sends a snapshot and releases it, however that ends.
 * @param idleMs for how long the receiver may take nothing
 * @throws what the snapshot throws while it is read; not that the receiver went away
 */
export async function sendSnapshot(
  snapshot: PeerSnapshot,
  outgoing: ServerResponse,
  idleMs: number,
): Promise<void> {
  const release = (): void => snapshot.release();
  // Frees what a chunk waits for, too: until then the loop over them cannot end.
  outgoing.once('close', release);
  try {
    outgoing.setTimeout(idleMs, () => outgoing.destroy());
    outgoing.writeHead(200, { 'content-type': 'application/octet-stream', connection: 'close' });
    await pipeline(framed(snapshot), outgoing);
  } catch (error) {
    if (!partings.includes(codeOf(error) ?? '')) throw error;
  } finally {
    release();
  }
}

async function* framed({ header, chunks }: PeerSnapshot): AsyncGenerator<Uint8Array> {
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(header.length);
  yield length;
  yield header;
  yield* chunks;
}

export interface ReceivedSnapshot extends PeerSnapshot {
  readonly header: Buffer;
  readonly chunks: AsyncGenerator<Buffer>;
}

export interface ReceiverParts {
  /** For how long nothing may come while something is asked for. */
  readonly idleMs: number;
  /** Makes the error of a failed or silent connection. */
  readonly unavailable: (cause: unknown) => Error;
  /** Makes the error of a reply that is none. */
  readonly malformed: (found: string) => Error;
}

/** Reads the header; the rest comes as it is asked for. A failure ends the connection. */
export async function receiveSnapshot(
  response: IncomingMessage,
  parts: ReceiverParts,
): Promise<ReceivedSnapshot> {
  const receiver = new Receiver(response, parts);
  try {
    const length = (await receiver.take(LENGTH_BYTES)).readUInt32BE();
    if (length > HEADER_BYTES_MAX) throw parts.malformed(`a header of ${length} bytes`);
    const header = await receiver.take(length);
    return { header, chunks: receiver.rest(), release: () => void response.destroy() };
  } catch (error) {
    response.destroy();
    throw error;
  }
}

class Receiver {
  readonly #response: IncomingMessage;
  readonly #parts: ReceiverParts;
  readonly #source: AsyncIterator<Buffer>;
  #ahead: Buffer = Buffer.alloc(0);

  constructor(response: IncomingMessage, parts: ReceiverParts) {
    this.#response = response;
    this.#parts = parts;
    this.#source = response[Symbol.asyncIterator]();
  }

  /** Exactly so many bytes. */
  async take(length: number): Promise<Buffer> {
    const pieces = [this.#ahead];
    let held = this.#ahead.length;
    while (held < length) {
      const piece = await this.#next();
      if (!piece) throw this.#parts.malformed('a snapshot that ends within its header');
      pieces.push(piece);
      held += piece.length;
    }
    const bytes = Buffer.concat(pieces);
    this.#ahead = bytes.subarray(length);
    return bytes.subarray(0, length);
  }

  /** Everything after what was taken; leaving the loop early ends the connection. */
  async *rest(): AsyncGenerator<Buffer> {
    try {
      if (this.#ahead.length > 0) yield this.#ahead;
      for (let piece = await this.#next(); piece; piece = await this.#next()) yield piece;
    } finally {
      this.#response.destroy();
    }
  }

  /** Undefined at the end. */
  async #next(): Promise<Buffer | undefined> {
    const { idleMs, unavailable } = this.#parts;
    const timer = setTimeout(() => {
      this.#response.destroy(new Error(`nothing came for ${idleMs} ms`));
    }, idleMs);
    try {
      const { done, value } = await this.#source.next();
      return done ? undefined : value;
    } catch (error) {
      throw unavailable(error);
    } finally {
      clearTimeout(timer);
    }
  }
}
