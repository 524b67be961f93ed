/**
 * Which shard a request is for, and what a client is told where that shard is not led here.
 *
 * | the shard of the keys | answer |
 * | --- | --- |
 * | is led and served here | the shard's |
 * | is led by another node | `MOVED <slot> <host>:<port>` |
 * | has no leader that this node knows of | `CLUSTERDOWN ...`: clients ask again |
 * | is to be led here, but is not served yet | the shard's: writes wait, reads are refused |
 *
 * The same holds for what a shard refuses after it has taken it, as long as nothing was appended.
 * Whoever cannot know whether a write was appended never hears a word that makes clients resend.
 *
 * On a node that is of no cluster every shard is here, and nothing is redirected.
 */
import {
  type ByteString,
  codeOf,
  errorReply,
  type RaftsealError,
  type Reply,
} from '@raftseal/interface';
import type { CommandSpec } from '@raftseal/kv';
import { commandSlot } from './command-slot.ts';
import type { Keyspace, Shard } from './keyspace.ts';
import { noLeader } from './reply-texts.ts';
import { shardErrorText } from './shard-errors.ts';

export class Router {
  readonly #keyspace: Keyspace;
  /** Takes all keys: there is no other shard, and no cluster whose clients go by slots. */
  readonly #onlyShard: Shard | undefined;

  constructor(keyspace: Keyspace) {
    const { shards, topology } = keyspace;
    this.#keyspace = keyspace;
    this.#onlyShard = shards.length === 1 && topology === undefined ? shards[0] : undefined;
  }

  /** True where the keys of a command, of a transaction and of its WATCH have to share a slot. */
  get bySlot(): boolean {
    return this.#onlyShard === undefined;
  }

  /** As `commandSlot`; any slot where it does not matter. */
  slotOf(command: CommandSpec, args: readonly ByteString[]): number | undefined {
    return this.#onlyShard === undefined ? commandSlot(command, args) : 0;
  }

  /** The first shard for what has no slot. */
  shardOf(slot: number | undefined): Shard {
    const { shards } = this.#keyspace;
    const shard =
      this.#onlyShard ?? (slot === undefined ? shards[0] : this.#keyspace.shardOf(slot));
    if (shard === undefined) throw new Error('the key space has no shard');
    return shard;
  }

  /** The shards that a command over all keys reaches: in a cluster, those that are led here. */
  get servedShards(): readonly Shard[] {
    const { shards, topology } = this.#keyspace;
    return topology === undefined ? shards : shards.filter(({ isServing }) => isServing);
  }

  /** The error that sends a client elsewhere; undefined where it is to be answered here. */
  redirection(slot: number): string | undefined {
    if (this.#keyspace.topology === undefined) return undefined;
    const shard = this.#keyspace.shardOf(slot);
    if (shard.isServing) return undefined;
    return this.#leaderText(shard, slot);
  }

  /**
   * Whether a client that takes old values may be given them: another node leads. With no leader
   * known this node may be cut off, and so far behind that nobody would expect it; Redis is silent
   * then too (`cluster-allow-reads-when-down no`).
   */
  mayReadStale(slot: number): boolean {
    const { topology } = this.#keyspace;
    return topology?.leaderOf(this.#keyspace.shardOf(slot).shardId)?.isSelf === false;
  }

  /**
   * The text of the error reply for what a shard threw or refused; undefined for what bears no code
   * of ours.
   */
  errorText(error: unknown, slot: number | undefined): string | undefined {
    const code = codeOf(error);
    const isNotLeader = code === 'RAFTSEAL_SHARD_GROUP_NOT_LEADER';
    const maybeElsewhere = isNotLeader || code === 'RAFTSEAL_SHARD_GROUP_STOPPED';
    if (this.#keyspace.topology === undefined || !maybeElsewhere) return shardErrorText(error);
    const elsewhere =
      slot === undefined ? undefined : this.#leaderText(this.#keyspace.shardOf(slot), slot);
    return elsewhere ?? (isNotLeader ? noLeader : shardErrorText(error));
  }

  /** The error reply for what a shard threw. Throws it again where it bears no code of ours. */
  refusal(error: unknown, slot: number | undefined): Reply {
    const text = this.errorText(error, slot);
    if (text === undefined) throw error;
    return errorReply(text);
  }

  /**
   * The error reply for a request that was not run because the log did not confirm that this node
   * leads what it reads. Nothing has changed, so clients may send it again.
   */
  unconfirmed(error: RaftsealError, slot: number | undefined): Reply {
    const isSilent = error.code === 'RAFTSEAL_ENGINE_UNAVAILABLE';
    if (isSilent) return errorReply(`CLUSTERDOWN ${error.code}: ${error.message}`);
    return this.refusal(error, slot);
  }

  /** Undefined where the leader that is known of is this node: nobody is sent where he is. */
  #leaderText(shard: Shard, slot: number): string | undefined {
    const leader = this.#keyspace.topology?.leaderOf(shard.shardId);
    if (leader === undefined) return noLeader;
    return leader.isSelf ? undefined : `MOVED ${slot} ${leader.host}:${leader.port}`;
  }
}
