/**
 * The place of one write in the order of its client's replies. Objects and their callbacks are
 * used again, so that a write in a steady stream allocates neither.
 */
import type { RaftsealError, Reply } from '@raftseal/interface';
import type { ProposalDone } from './keyspace.ts';

export interface PendingReplyOwner {
  /** A reply of this client has come in; not necessarily its first. */
  settle(): void;
}

export class PendingReply {
  owner: PendingReplyOwner | undefined;
  /** The next one of the same client, or the next free one. */
  next: PendingReply | undefined;
  answered = false;
  error: RaftsealError | null = null;
  reply: Reply = null;
  /** True where the client asked for no reply. */
  silent = false;
  /** Length of the command. */
  bytes = 0;
  /** Slot of its keys; undefined where it has none. */
  slot: number | undefined = undefined;

  /** To be handed to `Shard.propose`. */
  readonly done: ProposalDone = (error, reply) => {
    // A second answer, against the contract, must not be taken for that of another command.
    if (this.owner === undefined || this.answered) return;
    this.answered = true;
    this.error = error;
    this.reply = reply;
    this.owner.settle();
  };
}

/** Pending replies that are free to be used again. */
export class PendingReplies {
  #free: PendingReply | undefined;

  take(owner: PendingReplyOwner): PendingReply {
    const pending = this.#free ?? new PendingReply();
    this.#free = pending.next;
    pending.next = undefined;
    pending.owner = owner;
    return pending;
  }

  release(pending: PendingReply): void {
    pending.owner = undefined;
    pending.answered = false;
    pending.error = null;
    pending.reply = null;
    pending.next = this.#free;
    this.#free = pending;
  }
}
