/**
 * One process of a node, put together from the real parts in the order of the real node
 * (apps/node/src/node.ts and cluster/cluster.ts): keys, shards, logs replayed, leadership, nonce
 * epochs registered, coordinator, rotation. Only log, disk, network and clocks are the run's.
 */
import {
  CONTROL_SHARD,
  codeOf,
  type KeyState,
  type RaftEngine,
  RaftsealError,
} from '@raftseal/interface';
import {
  ControlChannel,
  CutoverCoordinator,
  type KekSet,
  KeyOperations,
  KeyRotation,
  NodeKeys,
  NodeShard,
  type PeerSnapshot,
  type RegistrationRequest,
  replayLogs,
  SnapshotExchange,
  Teardown,
  WriterRegistration,
} from '@raftseal/server/composition';
import type { Life } from './disk/life.ts';
import type { NodeDisk } from './disk/node-disk.ts';
import type { Network } from './network.ts';
import type { Plant } from './plants.ts';
import type { VirtualClock } from './virtual-clock.ts';

export interface NodeProcessParts {
  readonly nodeId: string;
  readonly nodeIds: readonly string[];
  readonly shardIds: readonly number[];
  readonly disk: NodeDisk;
  readonly life: Life;
  readonly engine: (shardId: number) => RaftEngine;
  readonly network: Network<NodeProcess>;
  /** Who leads the control shard, as far as anybody knows. */
  readonly controlLeaderId: () => string | undefined;
  readonly keks: KekSet;
  /** The cluster is sealed from its first entry on. */
  readonly bornSealed: boolean;
  readonly appendsInFlightMax: number;
  readonly onHalt: (shardId: number, error: unknown) => void;
  /** A snapshot of another node was installed. */
  readonly onRestored: () => void;
  /** Changes what was put together: a fault of wiring. */
  readonly plant: Plant | undefined;
  readonly clock: VirtualClock;
}

const CLUSTER_NAME = '00'.repeat(16);
const CACHE_BYTES_MAX = 1 << 24;
const SEAL_POLL_MS = 50;
const silent = { info: () => undefined, warn: () => undefined };
/** Of a logger, what the parts of a node call. */
type Log = ConstructorParameters<typeof SnapshotExchange>[0]['log'];

export class NodeProcess {
  readonly nodeId: string;
  readonly keys: NodeKeys;
  readonly shards: readonly NodeShard[];
  readonly operations: KeyOperations;
  readonly snapshots: SnapshotExchange;
  /** It has started in full: it stands for election on every shard, and writes its store. */
  isReady = false;
  readonly #parts: NodeProcessParts;
  readonly #teardown: Teardown;
  readonly #control: ControlChannel;
  readonly #coordinator: CutoverCoordinator;
  readonly #registration: WriterRegistration;
  readonly #rotation: KeyRotation;
  #isEnded = false;

  /**
   * Opens keys and stores; whoever calls then calls `start`.
   * @throws a coded error where the start is refused
   */
  static async open(parts: NodeProcessParts): Promise<NodeProcess> {
    const { nodeId, disk, life, keks } = parts;
    const teardown = new Teardown();
    const files = disk.files.open(life);
    const keys = await NodeKeys.open(
      {
        nodeId,
        directory: '/keys',
        encryption: 'on',
        keks,
        fileSystem: parts.plant?.inFiles?.(files, disk, parts.clock) ?? files,
        openRegistry: () => disk.registry.open(life),
        note: ({ shardId, index }) =>
          life.transaction(() => {
            const known = disk.recorded.get(shardId) ?? [];
            if (index <= (known.at(-1) ?? 0n)) return;
            disk.recorded = new Map(disk.recorded).set(shardId, [...known, index]);
          }),
      },
      teardown,
    );
    parts.plant?.inKeys?.(keys, nodeId);
    const own: { process?: NodeProcess } = {};
    const shards: NodeShard[] = [];
    for (const shardId of parts.shardIds) {
      shards.push(await openShard(shardId, keys, () => own.process, parts));
    }
    for (const shard of shards) parts.plant?.inShard?.(shard, nodeId);
    own.process = new NodeProcess(parts, { keys, shards, teardown });
    return own.process;
  }

  private constructor(
    parts: NodeProcessParts,
    own: Pick<NodeProcess, 'keys' | 'shards'> & { readonly teardown: Teardown },
  ) {
    const { nodeId, nodeIds, network, controlLeaderId } = parts;
    const { keys, shards } = own;
    this.#parts = parts;
    this.#teardown = own.teardown;
    this.nodeId = nodeId;
    this.keys = keys;
    this.shards = shards;
    const others = nodeIds.filter((other) => other !== nodeId);
    this.#coordinator = new CutoverCoordinator({
      groups: shards.map(({ group }) => group),
      keyState: () => keys.state,
      onFailure: () => undefined,
    });
    this.operations = new KeyOperations({
      nodeId,
      keks: keys.keks,
      keyLifecycle: keys.lifecycle,
      registry: keys.registry,
      controlGroup: this.#controlShard.group,
      otherMembers: () => others,
      checkMembers: async () => {
        for (const to of others) await network.call({ from: nodeId, to }, async () => undefined);
      },
      shardIds: parts.shardIds,
      clock: Date.now,
    });
    this.#rotation = new KeyRotation({
      keys,
      operations: this.operations,
      policy: undefined,
      leads: () => this.leadsControl,
      log: silent,
    });
    const view = {
      leaderIdOf: controlLeaderId,
      peerAddressOf: (host: string) => ({ host, port: 1 }),
    };
    this.#control = new ControlChannel({
      nodeId,
      view,
      access: { kind: 'token' },
      leadsControl: () => this.leadsControl,
    });
    this.#registration = new WriterRegistration({
      nodeId,
      keyLifecycle: keys.lifecycle,
      record: (request, signal) =>
        this.#control.untilDone(
          {
            here: () => this.recordRegistration(request),
            there: (url) =>
              network.call({ from: nodeId, to: new URL(url).hostname }, (leader) =>
                leader.recordRegistration(request),
              ),
          },
          { signal },
        ),
      log: silent as unknown as Log,
    });
    this.snapshots = new SnapshotExchange({
      clusterName: CLUSTER_NAME,
      keys,
      shards,
      sources: () =>
        others.map((other) => ({
          nodeId: other,
          fetch: (shardId) => this.#fetchSnapshot(other, shardId),
        })),
      log: silent as unknown as Log,
    });
  }

  /** It may seal entries and rows under the active keys, or there are none. */
  get isRegistered(): boolean {
    return this.#registration.isComplete;
  }

  get leadsControl(): boolean {
    return this.#controlShard.group.isReadable;
  }

  /** Replays, takes part in elections, registers, and seals what is new; in that order. */
  async start(): Promise<void> {
    const { keys, shards, operations } = this;
    const { bornSealed } = this.#parts;
    keys.lifecycle.onChange((state) => this.#onKeyState(state));
    await this.#replay();
    for (const shard of shards) shard.onState(() => this.#coordinator.consider());
    if (this.#registration.canRecord) this.#controlShard.group.campaign();
    await this.#registration.ensure();
    keys.lifecycle.onChange(() =>
      setImmediate(() => void this.#registration.ensure().catch(() => undefined)),
    );
    for (const { group } of shards) group.campaign();
    this.#coordinator.consider();
    while (bornSealed && !keys.state.cutoverIndex.has(CONTROL_SHARD) && !this.#isEnded) {
      if (this.leadsControl) await operations.enableEncryption().catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, SEAL_POLL_MS));
    }
    if (keys.state.clusterId) keys.refreshRowSeal();
    for (const { kv } of shards) kv.startCheckpoints();
    for (const shard of shards) shard.startExpiry();
    this.#rotation.start();
    this.isReady = true;
  }

  /** What the leader of the control shard does for a node that registers. */
  async recordRegistration(request: RegistrationRequest): Promise<void> {
    this.#control.checkLeads();
    await this.operations.recordRegistration(request);
  }

  async restore(shardId: number, signal: AbortSignal): ReturnType<SnapshotExchange['restore']> {
    const restored = await this.snapshots.restore(shardId, signal);
    this.#parts.onRestored();
    return restored;
  }

  /** The process is gone; what is left of it is told to stop, and reaches nothing any more. */
  end(): void {
    this.#isEnded = true;
    this.#parts.life.end();
    this.#coordinator.stop();
    void this.#rotation.stop();
    void this.#registration.close().catch(() => undefined);
    for (const shard of this.shards) void shard.close().catch(() => undefined);
    void this.#teardown.run().catch(() => undefined);
  }

  get #controlShard(): NodeShard {
    const [shard] = this.shards;
    if (shard) return shard;
    throw new Error('every node has a control shard');
  }

  #replay(): Promise<void> {
    const { keys, shards } = this;
    const { engine, disk } = this.#parts;
    const last = [...disk.recorded].map(([id, indexes]) => [id, indexes.at(-1) ?? 0n] as const);
    const audit = {
      recorded: new Map(last),
      recordedAfter: (shardId: number, index: bigint) =>
        disk.recorded.get(shardId)?.find((recorded) => recorded > index),
      settle: async () => undefined,
    };
    return replayLogs({ keys, shards, engine, audit });
  }

  #onKeyState(state: KeyState): void {
    const { keys, shards } = this;
    setImmediate(() => keys.state.clusterId && this.#refreshRowSeal());
    if (state.storageIndex !== undefined) {
      this.#refreshRowSeal();
      for (const { group, kv } of shards) if (group.state !== 'halted') kv.sealRows(keys.rowSeal);
    }
    if (state.sealedOnlyIndex !== undefined) for (const shard of shards) shard.refuseCleartext();
    this.#coordinator.consider();
  }

  #refreshRowSeal(): void {
    this.keys.refreshRowSeal();
    for (const { kv } of this.shards) kv.rewriteRows();
  }

  async #fetchSnapshot(to: string, shardId: number): Promise<PeerSnapshot> {
    const { network, nodeId: from } = this.#parts;
    const offered = await network.call({ from, to }, (other) => other.snapshots.offer(shardId));
    const chunks = network.stream({ from, to }, offered.chunks);
    return { header: offered.header, chunks, release: () => offered.release() };
  }
}

async function openShard(
  shardId: number,
  keys: NodeKeys,
  process: () => NodeProcess | undefined,
  { disk, life, engine, onHalt, bornSealed, appendsInFlightMax }: NodeProcessParts,
): Promise<NodeShard> {
  const store = disk.stores[shardId];
  if (store === undefined) throw new RangeError(`a node has no shard ${shardId}`);
  const shard = await NodeShard.open(
    {
      shardId,
      directory: `/shards/${shardId}`,
      cacheBytesMax: CACHE_BYTES_MAX,
      sealedFromBirth: bornSealed,
      sealedOnly: keys.state.sealedOnlyIndex !== undefined,
      appendsInFlightMax,
    },
    {
      engine: engine(shardId),
      keyLifecycle: keys.lifecycle,
      wrap: keys.installer.wrapOf(shardId),
      dekMayCome: () => true,
      seal: keys.state.storageIndex === undefined ? 'cleartext' : keys.rowSeal,
      peers: {
        reads: 'lease',
        restore: async (id, signal) => {
          const own = process();
          if (own) return own.restore(id, signal);
          throw new RaftsealError('RAFTSEAL_NODE_NOT_READY', 'the node is starting');
        },
        yieldMs: () => 0,
      },
      onHalt: (error) => onHalt(shardId, error),
      openEnvironment: async () => store.open(life),
    },
  );
  keys.installer.attach(shard.group);
  return shard;
}

/** Whether a start that was refused may be tried again: what was refused goes away by itself. */
export function isTransient(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'RAFTSEAL_ENGINE_UNAVAILABLE' || code === 'RAFTSEAL_SHARD_GROUP_STOPPED';
}
