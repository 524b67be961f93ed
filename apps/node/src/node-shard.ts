/**
 * One shard of this node: its log, state machine and shard group as one thing, in the shape that
 * the Redis front-end asks for. Reads are served from applied state and only while this node leads:
 * every write that was acknowledged is applied here, so they are linearizable.
 */
import { join } from 'node:path';
import type { KeyLifecycle } from '@raftseal/applier';
import {
  type ByteString,
  type RaftEngine,
  RaftsealError,
  type Reply,
  type RowSeal,
} from '@raftseal/interface';
import { KvStateMachine, type ScanOptions, type ScanPage } from '@raftseal/kv';
import { type RaftPayloadWrap, ShardGroup } from '@raftseal/shard-group';
import type { ShardStatus } from './admin/operations.ts';

export interface NodeShardOptions {
  readonly shardId: number;
  readonly directory: string;
  readonly cacheBytesMax: number;
}

export interface NodeShardParts {
  readonly engine: RaftEngine;
  readonly keyLifecycle: KeyLifecycle;
  readonly wrap: RaftPayloadWrap;
  readonly seal: RowSeal | 'cleartext';
  readonly onHalt: (error: Error) => void;
}

const EXPIRY_PERIOD_MS = 200;
const EXPIRY_KEYS_MAX = 500;
const TRUNCATE_PERIOD_MS = 1_000;
const QUEUE_BYTES_MAX = 64 * 1024 * 1024;

export class NodeShard {
  readonly shardId: number;
  readonly group: ShardGroup<Reply>;
  readonly kv: KvStateMachine;
  readonly #engine: RaftEngine;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #stateListeners: (() => void)[] = [];
  #expiring = false;
  #truncatedIndex = 0n;
  #truncationHolds = 0;
  #cutoverGateMs: number | null = null;

  static async open(options: NodeShardOptions, parts: NodeShardParts): Promise<NodeShard> {
    const { shardId, directory, cacheBytesMax } = options;
    const shard: { group?: ShardGroup<Reply> } = {};
    const kv = await KvStateMachine.open({
      directory: join(directory, 'store'),
      shardId,
      seal: parts.seal,
      cacheBytesMax,
      holdCheckpoints: true,
      onFatal: (error) => shard.group?.halt(error),
    });
    const node = new NodeShard(shardId, kv, parts);
    shard.group = node.group;
    return node;
  }

  private constructor(shardId: number, kv: KvStateMachine, parts: NodeShardParts) {
    this.shardId = shardId;
    this.kv = kv;
    this.#engine = parts.engine;
    this.group = new ShardGroup<Reply>(
      { shardId, queueBytesMax: QUEUE_BYTES_MAX },
      {
        engine: parts.engine,
        stateMachine: kv,
        keyLifecycle: parts.keyLifecycle,
        wrap: parts.wrap,
        onHalt: parts.onHalt,
        onState: () => {
          for (const listener of this.#stateListeners) listener();
        },
        onCutoverStep: (step, gateMs) => {
          if (step === 'gate-opened') this.#cutoverGateMs = gateMs ?? null;
        },
      },
    );
  }

  /** Calls `listener` after each change of the group's state. */
  onState(listener: () => void): void {
    this.#stateListeners.push(listener);
  }

  /** Starts the shard's own housekeeping: expiry and truncation. */
  startHousekeeping(): void {
    this.#timers.push(
      setInterval(() => this.#expire(), EXPIRY_PERIOD_MS),
      setInterval(() => this.#truncate(), TRUNCATE_PERIOD_MS),
    );
  }

  /** See the shard group's `propose`. */
  propose(command: Buffer, done: (error: RaftsealError | null, reply: Reply) => void): void {
    this.group.propose(command, (error, reply) => done(error, reply ?? null));
  }

  /** @throws RAFTSEAL_SHARD_GROUP_NOT_LEADER, RAFTSEAL_SHARD_GROUP_HALTED */
  query(args: readonly ByteString[], nowMs: number): Reply {
    this.#checkServing();
    return this.kv.query(args, nowMs);
  }

  /** @throws RAFTSEAL_SHARD_GROUP_HALTED */
  queryStale(args: readonly ByteString[], nowMs: number): Reply {
    this.#checkHalt();
    return this.kv.query(args, nowMs);
  }

  versionOf(key: ByteString, nowMs: number): bigint {
    this.#checkServing();
    return this.kv.versionOf(key, nowMs);
  }

  scan(cursor: bigint, options: ScanOptions, nowMs: number): ScanPage {
    this.#checkServing();
    return this.kv.scan(cursor, options, nowMs);
  }

  size(): number {
    this.#checkServing();
    return this.kv.size();
  }

  randomKey(nowMs: number): ByteString | null {
    this.#checkServing();
    return this.kv.randomKey(nowMs);
  }

  keys(pattern: ByteString, nowMs: number): ByteString[] {
    this.#checkServing();
    return this.kv.keys(pattern, nowMs);
  }

  /** True while clients should not be read from: the queue or the disk is behind. */
  get pressure(): boolean {
    return this.group.queuedBytes > QUEUE_BYTES_MAX / 2 || this.kv.pressure >= 1;
  }

  get isServing(): boolean {
    return this.group.state === 'leading' || this.group.state === 'gated';
  }

  status(): ShardStatus {
    const { group } = this;
    const { wrap } = group;
    const { durableIndex, queuedBytes, ...kv } = {
      ...this.kv.statistics(),
      queuedBytes: group.queuedBytes,
    };
    return {
      shardId: this.shardId,
      state: group.state,
      term: group.term?.toString() ?? null,
      appliedIndex: group.appliedIndex.toString(),
      durableIndex: durableIndex.toString(),
      log: wrap.kind,
      cutoverIndex: wrap.kind === 'sealed' ? wrap.cutoverIndex.toString() : null,
      raftDekId: wrap.kind === 'sealed' ? wrap.dekId : null,
      cutoverGateMs: this.#cutoverGateMs,
      queuedBytes,
      rowsSealed: kv.rowsSealed,
      rowsCleartext: kv.rowsCleartext,
      dirtyBytes: kv.dirtyBytes,
      cacheBytes: kv.cacheBytes,
      haltCode: group.haltError?.code ?? null,
    };
  }

  /** Keeps log files where they are while they are walked; the result lets go. */
  holdTruncation(): () => void {
    this.#truncationHolds++;
    return () => this.#truncationHolds--;
  }

  /** Ends the group first: nothing is applied to a closed store. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.group.stop();
    await this.kv.close();
  }

  #checkServing(): void {
    if (this.isServing) return;
    this.#checkHalt();
    throw new RaftsealError(
      'RAFTSEAL_SHARD_GROUP_NOT_LEADER',
      `this node does not lead shard ${this.shardId}`,
    );
  }

  #checkHalt(): void {
    const { haltError } = this.group;
    if (!haltError) return;
    throw new RaftsealError(
      'RAFTSEAL_SHARD_GROUP_HALTED',
      `shard ${this.shardId} has halted (${haltError.code}): see the node's log`,
    );
  }

  /** Only the leader's clock says that a key has expired; replicas delete when its entry says so. */
  #expire(): void {
    if (this.#expiring || !this.isServing) return;
    const command = this.kv.expired(Date.now(), EXPIRY_KEYS_MAX);
    if (!command) return;
    this.#expiring = true;
    this.propose(command, () => {
      this.#expiring = false;
    });
  }

  /** The last entry that the store has stays: the next start compares it with its key state. */
  #truncate(): void {
    const throughIndex = this.kv.durableIndex - 1n;
    if (throughIndex <= this.#truncatedIndex || this.#truncationHolds > 0) return;
    if (this.group.state === 'halted') return;
    this.#truncatedIndex = throughIndex;
    this.#engine.truncate(throughIndex).catch((error: unknown) => this.group.halt(error));
  }
}
