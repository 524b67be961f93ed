/**
 * Applies log entries, strictly one after the other: an entry's state, sidecar and installed wrap
 * are complete before the next entry's index is compared with the cutover.
 *
 * The index rule: an entry is sealed if and only if its index is above the shard's cutover. Both
 * mismatches are fatal, and so is an envelope that does not open: nothing is skipped, and the
 * applied index stays where it was. Once the cluster is sealed-only, an entry in the clear is fatal
 * at any index: what was at or below the cutover has left every log by then.
 */
import { assert, codeOf, fatalError, RaftsealError, type StateMachine } from '@raftseal/interface';
import {
  DataCursor,
  KIND_DATA,
  KIND_KEY_LIFECYCLE,
  TAG_BYTES,
  TAG_CLEARTEXT,
  TAG_SEALED,
} from './payload.ts';
import { mustBeSealed, type RaftPayloadWrap, type SealedWrap } from './payload-wrap.ts';

/** Applies key-lifecycle entries; the applier package's `KeyLifecycle` is one. */
export interface KeyLifecycle {
  /** Whether the control shard of this node waits for a KEK: its DEKs come once that is back. */
  readonly awaitsKek?: boolean;
  /** Resolves when state, registry, sidecar and installed wraps are complete and durable. */
  apply(entry: {
    readonly shardId: number;
    readonly index: bigint;
    readonly body: Uint8Array;
    /** Ends a wait for another shard: the entry is then not applied. */
    readonly signal: AbortSignal;
  }): Promise<unknown>;
}

export interface EntryApplierOptions {
  readonly shardId: number;
  /** How long an envelope under a DEK that is not loaded waits for the control shard. */
  readonly dekWaitMs: number;
  /**
   * False once no entry or snapshot can bring a DEK that is not loaded: an envelope under one is
   * then waited for no longer. Default: always true.
   */
  readonly dekMayCome?: () => boolean;
  /** See `refuseCleartext`. Default: false. */
  readonly sealedOnly?: boolean;
}

const DEK_POLL_MS = 10;
/** Length of a GCM tag. */
const PAYLOAD_END_BYTES = 16;

export class EntryApplier<Result> {
  /** Set by the shard group's `setRaftPayloadWrap`; read anew for every entry. */
  wrap: RaftPayloadWrap;
  readonly #options: EntryApplierOptions;
  readonly #stateMachine: StateMachine<Result>;
  readonly #keyLifecycle: KeyLifecycle;
  #appliedIndex: bigint;
  #lastTimestampMs: number;
  #sealedOnly: boolean;
  readonly #stop = new AbortController();
  /** The end of the payload that was given last. */
  readonly #lastEnd = { index: -1n, bytes: Buffer.alloc(PAYLOAD_END_BYTES), length: 0 };

  constructor(
    options: EntryApplierOptions,
    parts: {
      readonly stateMachine: StateMachine<Result>;
      readonly keyLifecycle: KeyLifecycle;
      readonly wrap: RaftPayloadWrap;
    },
  ) {
    this.#options = options;
    this.#stateMachine = parts.stateMachine;
    this.#keyLifecycle = parts.keyLifecycle;
    this.wrap = parts.wrap;
    this.#appliedIndex = parts.stateMachine.durableIndex;
    this.#lastTimestampMs = parts.stateMachine.durableTimestampMs;
    this.#sealedOnly = options.sealedOnly ?? false;
  }

  get appliedIndex(): bigint {
    return this.#appliedIndex;
  }

  /** One way: from now on an entry in the clear is fatal, whatever its index. Idempotent. */
  refuseCleartext(): void {
    this.#sealedOnly = true;
  }

  /** @throws fatal RAFTSEAL_SHARD_GROUP_CLEARTEXT_REFUSED once nothing in the clear is read */
  checkCleartextAllowed(index: bigint): void {
    if (!this.#sealedOnly) return;
    throw fatalError(
      'RAFTSEAL_SHARD_GROUP_CLEARTEXT_REFUSED',
      `${this.#where(index)} is in the clear, and the cluster is sealed-only: every entry in the ` +
        'clear had left the logs before; the log was forged, or is an older copy: restore it',
    );
  }

  /** False before this process has applied an entry. */
  get knowsLastPayload(): boolean {
    return this.#lastEnd.index === this.#appliedIndex;
  }

  /** Whether a payload is the one last applied, by its end: of a sealed one, that is its tag. */
  isLastPayload(payload: Uint8Array): boolean {
    const end = payload.subarray(-PAYLOAD_END_BYTES);
    return this.#lastEnd.bytes.subarray(0, this.#lastEnd.length).equals(end);
  }

  /** Ends the wait of an entry that waits: it is left as if it had not been read. */
  stop(): void {
    const where = `shard ${this.#options.shardId}`;
    const reason = 'the node is stopping, and the entry is not applied';
    this.#stop.abort(new RaftsealError('RAFTSEAL_SHARD_GROUP_STOPPED', `${where}: ${reason}`));
  }

  /** Goes on from a snapshot that the state machine has installed. */
  restored({ index, timestampMs }: { readonly index: bigint; readonly timestampMs: number }): void {
    assert(index > this.#appliedIndex, 'a snapshot leads forwards');
    this.#appliedIndex = index;
    this.#lastTimestampMs = Math.max(this.#lastTimestampMs, timestampMs);
  }

  /** Highest leader's clock seen in an entry; a new leader never stamps a lower one. */
  get lastTimestampMs(): number {
    return this.#lastTimestampMs;
  }

  /**
   * Applies an entry as it stands in the log.
   * @returns the results at once for a data entry, a promise where something must be waited for;
   *   no further call may be made before it settles.
   * @throws RAFTSEAL_SHARD_GROUP_STOPPED where it still waited at `stop`; anything else is fatal
   */
  apply(index: bigint, payload: Uint8Array): Result[] | Promise<Result[]> {
    const wrap = this.wrap;
    const content = asBuffer(payload.subarray(TAG_BYTES));
    this.#checkIndexRule(index, payload[0], wrap);
    this.#noteEnd(index, payload);
    if (!mustBeSealed(wrap, index)) return this.#applyBody(index, content);
    let body: Buffer;
    try {
      body = wrap.open(content, index);
    } catch (error) {
      if (codeOf(error) !== 'RAFTSEAL_ENVELOPE_UNKNOWN_DEK') throw this.#openFailed(index, error);
      return this.#openWhenDekArrives(index, content);
    }
    return this.#applyBody(index, body);
  }

  /**
   * Applies an entry that this node has just appended, from the body at hand instead of opening
   * what was sealed a moment ago.
   */
  applyOwn(index: bigint, payload: Uint8Array, body: Buffer): Result[] | Promise<Result[]> {
    this.#checkIndexRule(index, payload[0], this.wrap);
    this.#noteEnd(index, payload);
    return this.#applyBody(index, body);
  }

  #noteEnd(index: bigint, payload: Uint8Array): void {
    const end = payload.subarray(-PAYLOAD_END_BYTES);
    this.#lastEnd.bytes.set(end);
    this.#lastEnd.length = end.length;
    this.#lastEnd.index = index;
  }

  #checkIndexRule(index: bigint, tag: number | undefined, wrap: RaftPayloadWrap): void {
    const next = this.#appliedIndex + 1n;
    if (index !== next) {
      throw fatalError(
        'RAFTSEAL_SHARD_GROUP_INDEX_GAP',
        `${this.#where(index)}: expected index ${next} next; entries are missing or repeated in ` +
          'the log, nothing was applied',
      );
    }
    if (tag !== TAG_CLEARTEXT && tag !== TAG_SEALED) {
      throw fatalError(
        'RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY',
        `${this.#where(index)}: expected a payload tag 0x43 or 0x53, found ${tag ?? 'nothing'}`,
      );
    }
    if (mustBeSealed(wrap, index) && tag !== TAG_SEALED) {
      throw fatalError(
        'RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER',
        `${this.#where(index)} is in the clear although it lies above the cutover at ` +
          `${wrap.cutoverIndex}: it was forged, or appended by a node without the wrap`,
      );
    }
    if (!mustBeSealed(wrap, index) && tag === TAG_SEALED) {
      throw fatalError(
        'RAFTSEAL_SHARD_GROUP_SEALED_BELOW_CUTOVER',
        `${this.#where(index)} is sealed although this node knows of no cutover below it: the ` +
          'key state of this node is older than its log, or the entry was moved',
      );
    }
    if (tag === TAG_CLEARTEXT) this.checkCleartextAllowed(index);
  }

  #applyBody(index: bigint, body: Buffer): Result[] | Promise<Result[]> {
    const kind = body[0];
    if (kind === KIND_KEY_LIFECYCLE) return this.#applyKeyLifecycle(index, body.subarray(1));
    if (kind !== KIND_DATA) {
      throw fatalError(
        'RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY',
        `${this.#where(index)}: expected a body of kind 0x44 or 0x4b, found ${kind ?? 'none'}; ` +
          'the log was written by a later version, or is damaged',
      );
    }
    const cursor = new DataCursor(index, body);
    const results = this.#guard(index, () => {
      const answers = this.#stateMachine.apply(cursor);
      assert(answers.length === cursor.count, 'apply gives one result per command');
      return answers;
    });
    this.#lastTimestampMs = Math.max(this.#lastTimestampMs, cursor.timestampMs);
    this.#appliedIndex = index;
    return results;
  }

  async #applyKeyLifecycle(index: bigint, body: Buffer): Promise<Result[]> {
    const { signal } = this.#stop;
    try {
      await this.#keyLifecycle.apply({ shardId: this.#options.shardId, index, body, signal });
    } catch (error) {
      throw signal.aborted && error === signal.reason ? error : this.#applyFailed(index, error);
    }
    this.#guard(index, () => this.#stateMachine.skip(index));
    this.#appliedIndex = index;
    return [];
  }

  /** The rotation that brings a DEK is on the control shard, which may be a little behind. */
  async #openWhenDekArrives(index: bigint, envelope: Buffer): Promise<Result[]> {
    const { dekWaitMs, dekMayCome = () => true } = this.#options;
    // Counted, not measured: a process that was stopped meanwhile has not waited.
    let pollsLeft = dekWaitMs / DEK_POLL_MS;
    let body: Buffer | undefined;
    while (body === undefined) {
      await new Promise((resolve) => setTimeout(resolve, DEK_POLL_MS));
      this.#stop.signal.throwIfAborted();
      if (!this.#keyLifecycle.awaitsKek) pollsLeft--;
      // Asked before the attempt: what came last is found by it.
      const isLast = pollsLeft <= 0 || !dekMayCome();
      try {
        body = this.#sealedWrap().open(envelope, index);
      } catch (error) {
        if (isLast || codeOf(error) !== 'RAFTSEAL_ENVELOPE_UNKNOWN_DEK') {
          throw this.#openFailed(index, error);
        }
      }
    }
    return this.#applyBody(index, body);
  }

  #sealedWrap(): SealedWrap {
    if (this.wrap.kind === 'sealed') return this.wrap;
    throw new Error('a sealed wrap was replaced by cleartext');
  }

  #guard<T>(index: bigint, act: () => T): T {
    try {
      return act();
    } catch (error) {
      throw this.#applyFailed(index, error);
    }
  }

  #openFailed(index: bigint, cause: unknown): RaftsealError {
    if (cause instanceof RaftsealError && cause.fatal) return cause;
    return fatalError(
      'RAFTSEAL_SHARD_GROUP_OPEN_FAILED',
      `${this.#where(index)} does not open (${codeOf(cause) ?? 'unexpected error'}): it was ` +
        'altered, moved from another place, or sealed under a key this node does not have',
      cause,
    );
  }

  #applyFailed(index: bigint, cause: unknown): RaftsealError {
    if (cause instanceof RaftsealError && cause.fatal) return cause;
    return fatalError(
      'RAFTSEAL_SHARD_GROUP_APPLY_FAILED',
      `${this.#where(index)} could not be applied (${codeOf(cause) ?? 'unexpected error'})`,
      cause,
    );
  }

  #where(index: bigint): string {
    return `entry ${index} of shard ${this.#options.shardId}`;
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
