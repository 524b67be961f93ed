/**
 * One shard of this node: its log, state machine and shard group as one thing, in the shape that
 * the Redis front-end asks for. Reads are served from applied state and only while this node leads:
 * every write that was acknowledged is applied here, so they are linearizable.
 */
import { join } from 'node:path';
import type { KeyLifecycle } from '@raftseal/applier';
import {
  type ByteString,
  codeOf,
  type RaftEngine,
  RaftsealError,
  type Reply,
  type RowSeal,
} from '@raftseal/interface';
import {
  type KvOptions,
  KvStateMachine,
  type RewriteProgress,
  type ScanOptions,
  type ScanPage,
} from '@raftseal/kv';
import { type RaftPayloadWrap, type Restored, ShardGroup } from '@raftseal/shard-group';
import type { RewriteStatus, ShardStatus } from './admin/operations.ts';

export interface NodeShardOptions {
  readonly shardId: number;
  readonly directory: string;
  readonly cacheBytesMax: number;
  /** Nothing of a client is written while the log is in the clear. */
  readonly sealedFromBirth: boolean;
  /** Nothing in the clear is read, see `refuseCleartext`. */
  readonly sealedOnly: boolean;
  /** Appends under way at once, at most what the engine allows. Default: 1. */
  readonly appendsInFlightMax?: number;
}

/** What a shard that other nodes have too needs of them. */
export interface ShardPeers {
  /** `strict`: the log is asked before each linearizable read, and no clock is relied on. */
  readonly reads: 'lease' | 'strict';
  /** Brings a shard forward with the snapshot of another node. */
  restore(shardId: number, signal: AbortSignal): Promise<Restored>;
  /** How long this node lets others stand for election first, in ms. */
  yieldMs(shardId: number): number;
}

export interface NodeShardParts {
  readonly engine: RaftEngine;
  readonly keyLifecycle: KeyLifecycle;
  readonly wrap: RaftPayloadWrap;
  readonly seal: RowSeal | 'cleartext';
  readonly peers: ShardPeers | undefined;
  /** False once a DEK that is not loaded cannot come any more. */
  readonly dekMayCome: () => boolean;
  /** What the state is kept in. Default: LMDB. */
  readonly openEnvironment?: KvOptions['openEnvironment'];
  /** Told of what halted the shard, and of the last entry that it has applied. */
  readonly onHalt: (error: Error, appliedIndex: bigint) => void;
}

const EXPIRY_PERIOD_MS = 200;
const EXPIRY_KEYS_MAX = 500;
const TRUNCATE_PERIOD_MS = 1_000;
const QUEUE_BYTES_MAX = 64 * 1024 * 1024;
/** The control shard may have much to apply before it comes to a key. */
const DEK_WAIT_MS = 60_000;

export class NodeShard {
  readonly shardId: number;
  readonly group: ShardGroup<Reply>;
  readonly kv: KvStateMachine;
  /** Where there is one, the log confirms that this node leads before a linearizable read. */
  readonly confirmRead?: (done: (error: RaftsealError | null) => void) => void;
  readonly #engine: RaftEngine;
  readonly #sealedFromBirth: boolean;
  readonly #isAlone: boolean;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #stateListeners: (() => void)[] = [];
  #expiring = false;
  #truncatedIndex = 0n;
  #truncationHolds = 0;
  #cutoverGateMs: number | null = null;
  #isReplayed = false;

  static async open(options: NodeShardOptions, parts: NodeShardParts): Promise<NodeShard> {
    const { shardId, directory, cacheBytesMax, sealedOnly } = options;
    const { openEnvironment } = parts;
    const shard: { group?: ShardGroup<Reply> } = {};
    const kv = await KvStateMachine.open({
      directory: join(directory, 'store'),
      shardId,
      seal: parts.seal,
      sealedOnly,
      cacheBytesMax,
      holdCheckpoints: true,
      ...(openEnvironment && { openEnvironment }),
      onFatal: (error) => shard.group?.halt(error),
    });
    const node = new NodeShard(options, kv, parts);
    shard.group = node.group;
    return node;
  }

  private constructor(options: NodeShardOptions, kv: KvStateMachine, parts: NodeShardParts) {
    const { shardId, sealedOnly, appendsInFlightMax = 1 } = options;
    const { peers } = parts;
    this.shardId = shardId;
    this.kv = kv;
    this.#engine = parts.engine;
    this.#sealedFromBirth = options.sealedFromBirth;
    this.#isAlone = peers === undefined;
    if (peers?.reads === 'strict') this.confirmRead = (done) => this.#confirmRead(done);
    this.group = new ShardGroup<Reply>(
      {
        shardId,
        queueBytesMax: QUEUE_BYTES_MAX,
        dekWaitMs: DEK_WAIT_MS,
        dekMayCome: parts.dekMayCome,
        sealedOnly,
        appendsInFlightMax,
      },
      {
        engine: parts.engine,
        stateMachine: kv,
        keyLifecycle: parts.keyLifecycle,
        wrap: parts.wrap,
        ...(peers && {
          restore: (signal) => peers.restore(shardId, signal),
          yieldMs: () => peers.yieldMs(shardId),
        }),
        onHalt: (error) => parts.onHalt(error, this.group.appliedIndex),
        onState: () => {
          for (const listener of this.#stateListeners) listener();
        },
        onCutoverStep: (step, gateMs) => {
          if (step === 'gate-opened') this.#cutoverGateMs = gateMs ?? null;
        },
      },
    );
  }

  /** Whether what was in the log at the start is applied, or can not be. */
  get isReplayed(): boolean {
    return this.#isReplayed;
  }

  /** See the shard group's `replay`. */
  async replay(): Promise<void> {
    try {
      await this.group.replay();
    } finally {
      this.#isReplayed = true;
    }
  }

  /** Calls `listener` after each change of the group's state. */
  onState(listener: () => void): void {
    this.#stateListeners.push(listener);
  }

  /** Deletes what has expired, while this node leads. */
  startExpiry(): void {
    this.#timers.push(setInterval(() => this.#expire(), EXPIRY_PERIOD_MS));
  }

  /** Drops what the store has made durable from a log that nobody else reads. */
  startTruncation(): void {
    this.#timers.push(setInterval(() => void this.truncateOwn(), TRUNCATE_PERIOD_MS));
  }

  /** As far as it can be, once; does nothing where other nodes read the log. */
  async truncateOwn(): Promise<void> {
    if (this.#isAlone) await this.truncate(this.kv.durableIndex - 1n);
  }

  /**
   * Lets the log drop entries up to an index; above what is durable here, nothing. The last entry
   * that the store has stays: the next start compares it with its key state.
   */
  async truncate(throughIndex: bigint): Promise<void> {
    const own = this.kv.durableIndex - 1n;
    const through = throughIndex < own ? throughIndex : own;
    if (through <= this.#truncatedIndex || this.#truncationHolds > 0) return;
    if (this.group.state === 'halted') return;
    this.#truncatedIndex = through;
    try {
      await this.#engine.truncate(through);
    } catch (error) {
      this.#truncatedIndex = 0n;
      if (codeOf(error) !== 'RAFTSEAL_ENGINE_UNAVAILABLE') this.group.halt(error);
    }
  }

  /** See the shard group's `propose`. */
  propose(command: Buffer, done: (error: RaftsealError | null, reply: Reply) => void): void {
    if (this.#sealedFromBirth && this.group.wrap.kind === 'cleartext') {
      setImmediate(done, notSealedYet(this.shardId), null);
      return;
    }
    this.group.propose(command, (error, reply) => done(error, reply ?? null));
  }

  /** Appends an entry that changes nothing. @throws as the shard group's `propose` fails */
  proposeNothing(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.propose(this.kv.nothing(), (error) => (error ? reject(error) : resolve()));
    });
  }

  /** @throws RAFTSEAL_SHARD_GROUP_NOT_LEADER, RAFTSEAL_SHARD_GROUP_HALTED */
  query(args: readonly ByteString[], nowMs: number): Reply {
    this.#checkServing();
    return this.kv.query(args, nowMs);
  }

  /** @throws RAFTSEAL_SHARD_GROUP_HALTED */
  queryStale(args: readonly ByteString[], nowMs: number): Reply {
    this.#checkHalt();
    if (this.group.state === 'restoring') throw noStateYet(this.shardId);
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

  /** The last index of the log, whether it is applied here or not. */
  async headIndex(): Promise<bigint> {
    return (await this.#engine.bounds()).headIndex;
  }

  get isServing(): boolean {
    return this.group.isReadable;
  }

  get isHalted(): boolean {
    return this.group.state === 'halted';
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
      rewrite: rewriteStatus(kv.rewrite),
      dirtyBytes: kv.dirtyBytes,
      cacheBytes: kv.cacheBytes,
      haltCode: group.haltError?.code ?? null,
    };
  }

  /**
   * The cluster is sealed-only: an entry or a row in the clear halts this shard from now on, one
   * that the store holds at once. One-way; idempotent.
   */
  refuseCleartext(): void {
    this.group.refuseCleartext();
    // A store that has failed takes nothing any more.
    if (this.isHalted) return;
    try {
      this.kv.refuseCleartext();
    } catch (error) {
      this.group.halt(error);
    }
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

  #confirmRead(done: (error: RaftsealError | null) => void): void {
    this.group.confirmLeadership().then(
      () => done(null),
      (error: unknown) => done(error instanceof RaftsealError ? error : unexpected(error)),
    );
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
}

function rewriteStatus(progress: RewriteProgress | null): RewriteStatus | null {
  if (progress === null) return null;
  const { startedAtMs, ...rest } = progress;
  return { ...rest, startedAt: new Date(startedAtMs).toISOString() };
}

/** LOADING for clients: the cutover that a sealed node begins with is under way. */
function notSealedYet(shardId: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_NOT_READY',
    `shard ${shardId} takes no writes before its log is sealed, which is under way`,
  );
}

function noStateYet(shardId: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_NOT_READY',
    `shard ${shardId} is catching up from a snapshot: read from another node meanwhile`,
  );
}

function unexpected(cause: unknown): RaftsealError {
  const message = 'unexpected failure of a read: see the log of the node';
  return new RaftsealError('RAFTSEAL_NODE_INTERNAL', message, { cause });
}
