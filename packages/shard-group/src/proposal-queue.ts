/**
 * Proposals on their way into the log: commands gather in batches that become one entry each. The
 * queue is bounded in bytes, and what waits in it has drawn no nonce and no index: it can be
 * refused as a whole and nothing has happened.
 */
import type { RaftsealError } from '@raftseal/interface';
import {
  COMMAND_HEADER_BYTES,
  DATA_HEADER_BYTES,
  KIND_KEY_LIFECYCLE,
  TAG_BYTES,
} from './payload.ts';

/** Called exactly once, with the command's result or with why there is none. */
export type Done<Result> = (error: RaftsealError | null, result?: Result) => void;

/** Commands that become one log entry; `buffer[0]` is left free for the payload tag. */
export interface DataProposal<Result> {
  readonly kind: 'data';
  readonly buffer: Buffer;
  /** Bytes used in `buffer`, the tag included. */
  length: number;
  readonly dones: Done<Result>[];
}

/** A key-lifecycle entry, which travels alone. */
export interface KeyProposal {
  readonly kind: 'key-lifecycle';
  readonly buffer: Buffer;
  readonly length: number;
  /** True for the cutover marker alone: appended in the clear. */
  readonly marker: boolean;
  readonly done: (error: RaftsealError | null, index?: bigint) => void;
}

export type Proposal<Result> = DataProposal<Result> | KeyProposal;

export interface QueueLimits {
  /** An entry gathers commands up to this many bytes; a larger command travels alone. */
  readonly batchBytesMax: number;
  readonly batchCommandsMax: number;
  /** What may wait, in bytes; beyond it proposals are refused. */
  readonly queueBytesMax: number;
}

/** Empty buffers kept for the next batches: filling a warm one costs no page faults. */
const SPARE_BUFFERS_MAX = 4;

export class ProposalQueue<Result> {
  readonly #limits: QueueLimits;
  #proposals: Proposal<Result>[] = [];
  #bytes = 0;
  #spare: Buffer[] = [];

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#proposals.length === 0;
  }

  /**
   * Copies `command` into the last batch; false where the queue is full. An empty queue takes a
   * command of any size: one that is larger than the bound must not be refused for ever.
   */
  add(command: Uint8Array, done: Done<Result>): boolean {
    const size = COMMAND_HEADER_BYTES + command.length;
    if (this.#bytes > 0 && this.#bytes + size > this.#limits.queueBytesMax) return false;
    const batch = this.#batchWithRoom(size);
    batch.buffer.writeUInt32BE(command.length, batch.length);
    batch.buffer.set(command, batch.length + COMMAND_HEADER_BYTES);
    batch.length += size;
    batch.dones.push(done);
    this.#bytes += size;
    return true;
  }

  addKeyLifecycle(body: Uint8Array, done: KeyProposal['done']): void {
    this.#proposals.push(keyProposal(body, { marker: false, done }));
  }

  take(): Proposal<Result> | undefined {
    const proposal = this.#proposals.shift();
    if (proposal?.kind === 'data') {
      this.#bytes -= proposal.length - TAG_BYTES - DATA_HEADER_BYTES;
    }
    return proposal;
  }

  /** Gives a batch's buffer back once nothing reads it any more. */
  release(proposal: Proposal<Result>): void {
    const whole = proposal.buffer.length === TAG_BYTES + this.#limits.batchBytesMax;
    if (whole && this.#spare.length < SPARE_BUFFERS_MAX) this.#spare.push(proposal.buffer);
  }

  rejectAll(error: RaftsealError): void {
    const rejected = this.#proposals;
    this.#proposals = [];
    this.#bytes = 0;
    for (const proposal of rejected) rejectProposal(proposal, error);
  }

  #batchWithRoom(size: number): DataProposal<Result> {
    const last = this.#proposals.at(-1);
    if (
      last?.kind === 'data' &&
      last.length + size <= TAG_BYTES + this.#limits.batchBytesMax &&
      last.dones.length < this.#limits.batchCommandsMax
    ) {
      return last;
    }
    const alone = TAG_BYTES + DATA_HEADER_BYTES + size;
    const usual = TAG_BYTES + this.#limits.batchBytesMax;
    const buffer =
      alone > usual
        ? Buffer.allocUnsafeSlow(alone)
        : (this.#spare.pop() ?? Buffer.allocUnsafeSlow(usual));
    const batch: DataProposal<Result> = {
      kind: 'data',
      buffer,
      length: TAG_BYTES + DATA_HEADER_BYTES,
      dones: [],
    };
    this.#proposals.push(batch);
    return batch;
  }
}

/** A key-lifecycle proposal with its body framed. */
export function keyProposal(
  body: Uint8Array,
  options: Pick<KeyProposal, 'marker' | 'done'>,
): KeyProposal {
  const buffer = Buffer.allocUnsafeSlow(TAG_BYTES + 1 + body.length);
  buffer[TAG_BYTES] = KIND_KEY_LIFECYCLE;
  buffer.set(body, TAG_BYTES + 1);
  return { kind: 'key-lifecycle', buffer, length: buffer.length, ...options };
}

export function rejectProposal<Result>(proposal: Proposal<Result>, error: RaftsealError): void {
  if (proposal.kind === 'key-lifecycle') proposal.done(error);
  else for (const done of proposal.dones) done(error);
}
