/**
 * Snapshots of shards on their way between nodes. What travels is the store as it stands (rows that
 * are sealed stay so; they are bound to cluster, shard and row, not to a node) and, in the header,
 * the key state of the sender, which is at least as new as the store because it is taken after it.
 *
 * Header, integers big-endian: magic `RSSH` | version u16 | name of the cluster, 16 bytes |
 * shardId u32 | index u64 | timestampMs u64 | length of the key state u32 | key state (none in a
 * cluster without keys).
 *
 * Order at the receiver: the key state is durable before the store is swapped. A crash between the
 * two leaves a node that knows of a cutover which its store has not reached, as after any crash; the
 * other way round, entries above a cutover would meet a node that does not know of it.
 */
import { openReplicatedKeyState } from '@raftseal/applier';
import { CONTROL_SHARD, codeOf, RaftsealError } from '@raftseal/interface';
import type { Restored } from '@raftseal/shard-group';
import type { Logger } from 'pino';
import type { NodeKeys } from '../node-keys.ts';
import type { NodeShard } from '../node-shard.ts';
import type { PeerSnapshot } from '../peer/operations.ts';

const MAGIC = Buffer.from('RSSH');
const VERSION = 1;
const CLUSTER_NAME_BYTES = 16;
const FIXED_BYTES = 4 + 2 + CLUSTER_NAME_BYTES + 4 + 8 + 8 + 4;
const REPORT_MS = 5_000;

export interface SnapshotHeader {
  /** 32 hex digits. */
  readonly clusterName: string;
  readonly shardId: number;
  readonly index: bigint;
  readonly timestampMs: number;
  /** Empty in a cluster without keys. */
  readonly keyState: Buffer;
}

export function encodeSnapshotHeader(header: SnapshotHeader): Buffer {
  const { clusterName, shardId, index, timestampMs, keyState } = header;
  const bytes = Buffer.alloc(FIXED_BYTES + keyState.length);
  let at = MAGIC.copy(bytes);
  at = bytes.writeUInt16BE(VERSION, at);
  at += bytes.write(clusterName, at, 'hex');
  at = bytes.writeUInt32BE(shardId, at);
  at = bytes.writeBigUInt64BE(index, at);
  at = bytes.writeBigUInt64BE(BigInt(timestampMs), at);
  at = bytes.writeUInt32BE(keyState.length, at);
  keyState.copy(bytes, at);
  return bytes;
}

/** @throws RAFTSEAL_NODE_SNAPSHOT_INVALID */
export function decodeSnapshotHeader(header: Uint8Array): SnapshotHeader {
  const bytes = Buffer.from(header.buffer, header.byteOffset, header.byteLength);
  if (bytes.length < FIXED_BYTES || !bytes.subarray(0, 4).equals(MAGIC)) {
    throw invalid('it does not begin as one');
  }
  const version = bytes.readUInt16BE(4);
  if (version !== VERSION) throw invalid(`it is of version ${version}, not ${VERSION}`);
  const at = 6 + CLUSTER_NAME_BYTES;
  const length = bytes.readUInt32BE(at + 20);
  if (bytes.length !== FIXED_BYTES + length) throw invalid('its length is not the one it names');
  const timestampMs = bytes.readBigUInt64BE(at + 12);
  if (timestampMs > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid('its time is impossible');
  return {
    clusterName: bytes.toString('hex', 6, at),
    shardId: bytes.readUInt32BE(at),
    index: bytes.readBigUInt64BE(at + 4),
    timestampMs: Number(timestampMs),
    keyState: bytes.subarray(FIXED_BYTES),
  };
}

export interface SnapshotSource {
  readonly nodeId: string;
  /** The caller releases it. */
  fetch(shardId: number): Promise<PeerSnapshot>;
}

export interface SnapshotExchangeParts {
  readonly clusterName: string;
  readonly keys: NodeKeys;
  readonly shards: readonly NodeShard[];
  /** Nodes that may have what this one lacks, the likeliest first. */
  readonly sources: (shardId: number) => readonly SnapshotSource[];
  readonly log: Logger;
}

export class SnapshotExchange {
  readonly #parts: SnapshotExchangeParts;
  /** When it was last said that a shard finds no source, by the monotonic clock. */
  readonly #reportedMs = new Map<number, number>();

  constructor(parts: SnapshotExchangeParts) {
    this.#parts = parts;
  }

  /** A snapshot of what this node has. @throws RAFTSEAL_NODE_NOT_READY, RAFTSEAL_KV_* */
  async offer(shardId: number): Promise<PeerSnapshot> {
    const shard = this.#shard(shardId);
    const { state } = shard.group;
    if (state === 'halted' || state === 'restoring' || state === 'stopped') {
      throw new RaftsealError(
        'RAFTSEAL_NODE_NOT_READY',
        `shard ${shardId} is ${state} on this node: ask another one for its snapshot`,
      );
    }
    const snapshot = await shard.kv.snapshot();
    const { index, timestampMs } = snapshot;
    const { clusterName } = this.#parts;
    const release = (): void => snapshot.release();
    try {
      const keyState = await this.keyState();
      const header = { clusterName, shardId, index, timestampMs, keyState };
      return { header: encodeSnapshotHeader(header), chunks: snapshot.chunks(), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** What all replicas share of the key state; empty where there are no keys. */
  async keyState(): Promise<Buffer> {
    return (await this.#parts.keys.lifecycle.exportKeyState()) ?? Buffer.alloc(0);
  }

  /** Brings a shard forward with the snapshot of another node. */
  async restore(shardId: number, signal: AbortSignal): Promise<Restored> {
    const { sources, log } = this.#parts;
    let failure: unknown;
    for (const source of sources(shardId)) {
      signal.throwIfAborted();
      try {
        const restored = await this.#restoreFrom(source, shardId, signal);
        const { nodeId: from } = source;
        log.info({ shardId, from, index: `${restored.index}` }, 'a snapshot was installed');
        return restored;
      } catch (error) {
        log.warn({ shardId, from: source.nodeId, code: codeOf(error) }, 'no snapshot from a node');
        failure = error;
      }
    }
    if (failure !== undefined) throw failure;
    throw this.#noSource(shardId);
  }

  /** It is asked again and again: an operator is told now and then. */
  #noSource(shardId: number): RaftsealError {
    const error = noSource(shardId);
    const nowMs = performance.now();
    if (nowMs - (this.#reportedMs.get(shardId) ?? Number.NEGATIVE_INFINITY) >= REPORT_MS) {
      this.#reportedMs.set(shardId, nowMs);
      this.#parts.log.warn({ shardId, code: error.code }, error.message);
    }
    return error;
  }

  async #restoreFrom(
    source: SnapshotSource,
    shardId: number,
    signal: AbortSignal,
  ): Promise<Restored> {
    const { kv } = this.#shard(shardId);
    const snapshot = await source.fetch(shardId);
    const release = (): void => snapshot.release();
    signal.addEventListener('abort', release, { once: true });
    try {
      const header = decodeSnapshotHeader(snapshot.header);
      this.#check(header, shardId);
      await this.#adopt(header.keyState);
      const { index, timestampMs } = header;
      // A sender that has not written since values are sealed is asked again: it soon will have.
      const mustBeSealed = this.#parts.keys.state.storageIndex !== undefined;
      return await kv.install(snapshot.chunks, { index, timestampMs, mustBeSealed });
    } finally {
      signal.removeEventListener('abort', release);
      release();
    }
  }

  #check({ clusterName, shardId, index }: SnapshotHeader, wanted: number): void {
    if (clusterName !== this.#parts.clusterName) throw invalid('it is of another cluster');
    if (shardId !== wanted) throw invalid(`it is of shard ${shardId}, not ${wanted}`);
    const { appliedIndex } = this.#shard(wanted).group;
    if (index > appliedIndex) return;
    throw invalid(`it ends at ${index}, and ${appliedIndex} is applied here already`);
  }

  async #adopt(keyState: Buffer): Promise<void> {
    if (keyState.length === 0) return;
    const { keys } = this.#parts;
    await keys.lifecycle.adopt(await openReplicatedKeyState(keyState, keys.keks.unwrap));
  }

  #shard(shardId: number): NodeShard {
    const shard = this.#parts.shards[shardId];
    if (shard) return shard;
    throw new RaftsealError(
      'RAFTSEAL_NODE_BAD_REQUEST',
      `expected a shard from ${CONTROL_SHARD} to ${this.#parts.shards.length - 1}`,
    );
  }
}

function invalid(found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_SNAPSHOT_INVALID',
    `expected a snapshot of this cluster for what this node lacks; ${found}`,
  );
}

function noSource(shardId: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_PEER_UNAVAILABLE',
    `the log of shard ${shardId} no longer reaches back to what this node has, and no other node ` +
      'is in reach for a snapshot: start another member',
  );
}
