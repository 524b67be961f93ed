/**
 * Nonces without randomness (the deterministic construction of NIST SP 800-38D section 8.2.1):
 *
 * | offset | bytes | field |
 * | --- | --- | --- |
 * | 0 | 2 | writerId: given to this node by the control log, never to another |
 * | 2 | 2 | nonceEpoch: made durable by this process before its first seal under the DEK |
 * | 4 | 8 | counter: from 1, one more at every draw |
 *
 * One entry is sealed before anybody knows of the epoch: the registration of this very process. Two
 * copies of a node, or one that lost its sidecar in between, can each seal one of theirs under the
 * same epoch. So its counter is random, with the highest bit set, which no count reaches.
 *
 * A DEK therefore sees no nonce twice, over restarts and failovers, as long as one process has one
 * sequence per DEK, shared by all shards. The keyring refuses a second one with the same epoch.
 *
 * Drawing is one synchronous step. A nonce counts as used once it is drawn, whatever becomes of
 * the envelope: a seal that fails, or an append that is fenced, never gives it back. Sequences
 * belong to one thread; they cannot be cloned into another.
 */
import { NONCE_EPOCH_MAX, RaftsealError } from '@raftseal/interface';
import { isU16, isU64, readU16, readU32, writeU16, writeU32 } from './big-endian.ts';
import { Counter64 } from './counter64.ts';
import { NONCE_BYTES } from './header.ts';

/**
 * Seals that one DEK is good for. NIST SP 800-38D section 8.3 asks this of random nonces only; it is
 * kept here as a margin on how much one key encrypts.
 */
export const SEALS_MAX: bigint = 1n << 32n;

export interface NonceSequenceOptions {
  /** 1..65535. */
  readonly writerId: number;
  /** 1..65535; 0 means that no process has claimed an epoch. */
  readonly nonceEpoch: number;
  /** Draws that this sequence allows; 2^32 unless told otherwise. */
  readonly sealsMax?: bigint;
  /** Makes random bytes. With it, counters are random until `registered` is called. */
  readonly randomBytes?: (length: number) => Uint8Array;
  /**
   * Called by a draw that meets the limit, before it is refused; it may move the limit.
   * @param fromReserve as the draw was told.
   */
  readonly onLimit?: (fromReserve: boolean) => void;
}

export class NonceSequence {
  readonly writerId: number;
  readonly nonceEpoch: number;
  readonly sealsMax: bigint;
  readonly #counter: Counter64;
  readonly #onLimit: NonceSequenceOptions['onLimit'];
  #randomBytes: NonceSequenceOptions['randomBytes'];

  /** @throws RangeError */
  constructor(options: NonceSequenceOptions) {
    const { writerId, nonceEpoch, sealsMax = SEALS_MAX, randomBytes } = options;
    checkPrefix(writerId, nonceEpoch);
    if (sealsMax < 1n || !isU64(sealsMax)) {
      throw new RangeError(`sealsMax must be an unsigned 64-bit integer from 1: ${sealsMax}`);
    }
    this.writerId = writerId;
    this.nonceEpoch = nonceEpoch;
    this.sealsMax = sealsMax;
    this.#counter = new Counter64({ start: 0n, limit: sealsMax });
    this.#randomBytes = randomBytes;
    this.#onLimit = options.onLimit;
  }

  /** The epoch is this process's for certain: counters count from now on. Idempotent. */
  registered(): void {
    this.#randomBytes = undefined;
  }

  /** How many nonces were counted. */
  get seals(): bigint {
    return this.#counter.value;
  }

  /**
   * Allows so many seals in all, `sealsMax` at most; fewer than there were allow no further one.
   * Without this call it is `sealsMax`.
   */
  limitTo(seals: bigint): void {
    this.#counter.limitTo(seals < this.sealsMax ? seals : this.sealsMax);
  }

  /**
   * Writes the next nonce, 12 bytes, into `target` at `offset`.
   * @param fromReserve for what must be sealed even where the limit refuses all else.
   * @throws RAFTSEAL_ENVELOPE_NONCES_EXHAUSTED at the limit, as long as it is not moved; RangeError
   *   where the target has no room
   */
  draw(target: Uint8Array, offset: number, fromReserve = false): void {
    if (offset < 0 || offset + NONCE_BYTES > target.length) {
      throw new RangeError(`no room for ${NONCE_BYTES} bytes at offset ${offset}`);
    }
    writeU16(target, offset, this.writerId);
    writeU16(target, offset + 2, this.nonceEpoch);
    if (this.#randomBytes !== undefined) {
      target.set(this.#randomBytes(8).subarray(0, 8), offset + 4);
      target[offset + 4] = (target[offset + 4] ?? 0) | 0x80;
      return;
    }
    const counter = this.#counter;
    if (!counter.increment()) {
      this.#onLimit?.(fromReserve);
      if (!counter.increment()) throw this.#exhausted();
    }
    writeU32(target, offset + 4, counter.high);
    writeU32(target, offset + 8, counter.low);
  }

  #exhausted(): RaftsealError {
    return new RaftsealError(
      'RAFTSEAL_ENVELOPE_NONCES_EXHAUSTED',
      `writer ${this.writerId} has sealed ${this.seals} times in epoch ${this.nonceEpoch}, and may ` +
        'not seal under this DEK any more: rotate the DEK',
    );
  }
}

/** A nonce taken apart. */
export interface NonceParts {
  readonly writerId: number;
  readonly nonceEpoch: number;
  readonly counter: bigint;
}

/** Takes a nonce of 12 bytes apart, to tell who sealed an envelope. @throws RangeError */
export function decodeNonce(nonce: Uint8Array): NonceParts {
  if (nonce.length !== NONCE_BYTES) {
    throw new RangeError(`nonce must have ${NONCE_BYTES} bytes, found ${nonce.length}`);
  }
  return {
    writerId: readU16(nonce, 0),
    nonceEpoch: readU16(nonce, 2),
    counter: (BigInt(readU32(nonce, 4)) << 32n) | BigInt(readU32(nonce, 8)),
  };
}

function checkPrefix(writerId: number, nonceEpoch: number): void {
  if (!isU16(writerId) || writerId === 0) {
    throw new RangeError(`writerId must be 1..65535, found ${writerId}`);
  }
  if (!isU16(nonceEpoch) || nonceEpoch === 0 || nonceEpoch > NONCE_EPOCH_MAX) {
    throw new RangeError(`nonceEpoch must be 1..${NONCE_EPOCH_MAX}, found ${nonceEpoch}`);
  }
}
