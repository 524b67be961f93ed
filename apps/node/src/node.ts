/**
 * The composition of a node: every package, wired in the order in which a start has to happen.
 *
 * 1. configuration, lock of the data directory
 * 2. KEK opened and probed
 * 3. sidecar read and authenticated, keys unwrapped, wraps of shards already cut over installed
 * 4. logs and stores opened; a node of a cluster joins it; logs replayed: a refusal up to here burns
 *    no nonce epoch
 * 5. leadership, nonce epochs claimed and registered
 * 6. a new node, or cluster, is sealed from its first entry
 * 7. listeners; those of a cluster node are open from 5 on, and send clients to who leads
 *
 * A shard that halts leaves the others, and the node, up. Stopping goes through the same in reverse.
 */
import { assert, CONTROL_SHARD, codeOf, type KeyState, RaftsealError } from '@raftseal/interface';
import { type Logger, pino } from 'pino';
import { NodeAdmin } from './admin/node-admin.ts';
import type { AdminOperations } from './admin/operations.ts';
import { adminServer } from './admin/server.ts';
import { readOrMakeToken, readToken } from './admin/token.ts';
import { checkClock } from './clock-check.ts';
import type { Cluster } from './cluster/cluster.ts';
import { checkConfig, type NodeConfig } from './config.ts';
import { CutoverCoordinator } from './cutover-coordinator.ts';
import {
  embeddedSource,
  type FoundationsParts,
  type NodeFoundations,
  openFoundations,
} from './foundations.ts';
import { infoSection } from './info-section.ts';
import type { OpenKek } from './kek-set.ts';
import { KeyOperations } from './key-operations.ts';
import { KeyRotation } from './key-rotation.ts';
import { keyspaceOf } from './keyspace-of-shards.ts';
import type { NodeShard } from './node-shard.ts';
import type { RedisServer } from './redis/index.ts';
import { openRedisListener } from './redis-listener.ts';
import { replayLogs } from './replay.ts';
import { Teardown } from './teardown.ts';

export interface NodeParts {
  /** Default: silent. */
  readonly log?: Logger;
  /** Aborted: the node stops. */
  readonly signal?: AbortSignal;
  /** Default: `kekFromUri`. */
  readonly openKek?: OpenKek;
  /** Data is brought in: clients and admin calls are not served, and nothing expires. */
  readonly isRestoring?: boolean;
}

const LEADERSHIP_POLL_MS = 2;
const SEAL_POLL_MS = 50;
const NOT_CLOSED = 'not everything could be closed';

/**
 * Starts a node; resolves once it serves.
 * @throws a coded error for every wrong option, file, permission, port or KEK; whatever was opened
 *   is closed again
 */
export async function startNode(config: NodeConfig, parts: NodeParts = {}): Promise<Node> {
  checkConfig(config);
  checkClock(Date.now());
  const log = parts.log ?? pino({ level: 'silent' });
  const teardown = new Teardown();
  const { signal } = parts;
  try {
    const { isRestoring = false, openKek } = parts;
    const own = { log, teardown, isRestoring, ...(openKek && { openKek }) };
    const node = await openNode(config, own);
    signal?.addEventListener('abort', () => void node.stop(), { once: true });
    if (signal?.aborted) void node.stop();
    await node.start().catch((error: unknown) => {
      // A node of a cluster may wait for others while it starts, and is ended meanwhile.
      if (node.exclusion) throw node.exclusion;
      if (!signal?.aborted) throw error;
    });
    return node;
  } catch (error) {
    await teardown.run().catch((failure: unknown) => log.error({ err: failure }, NOT_CLOSED));
    throw error;
  }
}

async function openNode(config: NodeConfig, parts: OwnParts & FoundationsParts): Promise<Node> {
  if (!config.cluster) {
    return new Node(config, await openFoundations(config, embeddedSource(config), parts), parts);
  }
  const node: { made?: Node } = {};
  const onExcluded = (error: RaftsealError): void => node.made?.exclude(error);
  // With the client of etcd: a node alone starts without them.
  const { clusterSource } = await import('./cluster/source.ts');
  const source = await clusterSource(config, config.cluster, { ...parts, onExcluded });
  const foundations = await openFoundations(config, source, parts);
  node.made = new Node(config, foundations, { ...parts, cluster: source.cluster() });
  return node.made;
}

interface OwnParts {
  readonly teardown: Teardown;
  readonly isRestoring: boolean;
}

export class Node {
  /** What the admin API offers. */
  readonly admin: AdminOperations;
  readonly #config: NodeConfig;
  readonly #foundations: NodeFoundations;
  readonly #teardown: Teardown;
  readonly #isRestoring: boolean;
  readonly #cluster: Cluster | undefined;
  readonly #coordinator: CutoverCoordinator;
  readonly #operations: KeyOperations;
  readonly #rotation: KeyRotation;
  readonly #stopped: { readonly promise: Promise<void>; readonly resolve: () => void };
  #redis: RedisServer | undefined;
  #adminPort = 0;
  #isReady = false;
  #exclusion: RaftsealError | undefined;
  #stopping: Promise<void> | undefined;

  constructor(
    config: NodeConfig,
    foundations: NodeFoundations,
    parts: OwnParts & { readonly cluster?: Cluster },
  ) {
    const { cluster, teardown } = parts;
    this.#isRestoring = parts.isRestoring;
    this.#config = config;
    this.#foundations = foundations;
    this.#teardown = teardown;
    this.#cluster = cluster;
    const { keys, shards, log } = foundations;
    this.#coordinator = new CutoverCoordinator({
      groups: shards.map(({ group }) => group),
      keyState: () => keys.state,
      onFailure: (shardId, error) =>
        log.warn({ shardId, code: codeOf(error) }, 'the cutover of a shard is tried again'),
    });
    teardown.add(() => this.#coordinator.stop());
    this.#operations = new KeyOperations({
      nodeId: keys.nodeId,
      keks: keys.keks,
      keyLifecycle: keys.lifecycle,
      registry: keys.registry,
      controlGroup: this.#shard(CONTROL_SHARD).group,
      ...(cluster && {
        otherMembers: () => cluster.otherMembers,
        checkMembers: () => cluster.checkMembers(),
      }),
      shardIds: shards.map(({ shardId }) => shardId),
      clock: Date.now,
    });
    this.#rotation = new KeyRotation({
      keys,
      operations: this.#operations,
      policy: config.rotation,
      leads: () => this.#shard(CONTROL_SHARD).isServing,
      log,
    });
    teardown.add(() => this.#rotation.stop());
    this.admin = new NodeAdmin({
      foundations,
      operations: this.#operations,
      rotation: this.#rotation,
      cluster,
      isReady: () => this.#isReady,
      isHealthy: () => this.#isHealthy,
      clientCount: () => this.#redis?.clientCount ?? 0,
    });
    let resolve = (): void => undefined;
    const promise = new Promise<void>((settle) => {
      resolve = settle;
    });
    this.#stopped = { promise, resolve };
  }

  /** Why the node may take no part any more. */
  get exclusion(): RaftsealError | undefined {
    return this.#exclusion;
  }

  /** Resolves once the node has stopped. */
  get stopped(): Promise<void> {
    return this.#stopped.promise;
  }

  /** Where clients connect. */
  get redisPort(): number {
    return this.#redis?.port ?? 0;
  }

  get adminPort(): number {
    return this.#adminPort;
  }

  /** For who brings data in. */
  get shards(): readonly NodeShard[] {
    return this.#foundations.shards;
  }

  /** Every shard is served here, or known to be served by another node. */
  get #isHealthy(): boolean {
    const isServed = (shard: NodeShard): boolean => {
      if (shard.isServing) return true;
      const leader = this.#cluster?.view.leaderOf(shard.shardId);
      return shard.group.state === 'follower' && leader?.isSelf === false;
    };
    return this.#isReady && this.#foundations.shards.every(isServed);
  }

  /** Joins, replays, leads, registers, seals what is new, and opens the listeners. Once. */
  async start(): Promise<void> {
    const { keys, shards } = this.#foundations;
    const cluster = this.#cluster;
    await cluster?.join({
      foundations: this.#foundations,
      operations: this.#operations,
      admin: this.admin,
      isRestoring: this.#isRestoring,
    });
    this.#checkNotStopping();
    // Before the replay: a snapshot, or the log, may bring keys that stores need at once.
    keys.lifecycle.onChange((state) => this.#onKeyState(state));
    // A node that joins a sealed-only cluster was told so after its stores were opened.
    if (keys.state.sealedOnlyIndex !== undefined) this.#onKeyState(keys.state);
    await this.#replay();
    this.#checkNotStopping();
    for (const shard of shards) shard.onState(() => this.#coordinator.consider());
    if (cluster) {
      await this.#listen();
      await cluster.takePart();
    } else {
      await this.#lead();
    }
    this.#checkNotStopping();
    await this.#prepareSealing();
    this.#checkNotStopping();
    for (const shard of shards) {
      if (!this.#isRestoring) shard.startExpiry();
      if (!cluster) shard.startTruncation();
    }
    if (!cluster) await this.#listen();
    this.#checkNotStopping();
    this.#rotation.start();
    this.#isReady = true;
    this.#reportReady();
  }

  /** Stops taking commands, answers those under way, flushes, closes. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Ends the node, which may take no part any more. */
  exclude(error: RaftsealError): void {
    this.#exclusion ??= error;
    this.#foundations.keys.lifecycle.abandonClaims();
    this.#foundations.log.fatal({ code: error.code }, error.message);
    process.exitCode = 1;
    void this.stop();
  }

  async #replay(): Promise<void> {
    const { keys, shards, logs, audit } = this.#foundations;
    await replayLogs({ keys, shards, audit, engine: (shardId) => logs.engine(shardId) });
    this.#checkEncryptionMatchesData(keys.state);
  }

  #checkEncryptionMatchesData(state: KeyState): void {
    if (this.#foundations.config.encryption === 'on' && !state.clusterId) this.#checkHoldsNoData();
  }

  /** Encryption is turned on for data in the clear by a cutover under way, not by a restart. */
  #checkHoldsNoData(): void {
    const { shards, directory } = this.#foundations;
    if (shards.some(({ group }) => group.appliedIndex > 0n)) {
      throw new RaftsealError(
        'RAFTSEAL_NODE_CLEARTEXT_DATA',
        `${directory.path} holds data in the clear: start with --encryption off and --kek, then ` +
          'run `raftseal encryption enable`, which seals it without a pause; nothing was changed',
      );
    }
  }

  async #lead(): Promise<void> {
    const { shards } = this.#foundations;
    for (const { group } of shards) group.campaign();
    await this.#until(({ group }) => group.state === 'leading');
    if (this.#foundations.keys.state.clusterId && !this.#isControlHalted) {
      await this.#operations.registerWriter();
    }
  }

  /** From here on this process may seal; what is new is sealed before anyone can write to it. */
  async #prepareSealing(): Promise<void> {
    const { config, keys, log, shards } = this.#foundations;
    if (this.#isControlHalted) {
      log.error('the control shard has halted: nothing can be written until it is restored');
      return;
    }
    // A cutover that was under way when the node went down goes on.
    this.#coordinator.consider();
    if (config.encryption === 'on') await this.#sealed();
    if (keys.state.clusterId) keys.refreshRowSeal();
    for (const { kv } of shards) kv.startCheckpoints();
  }

  /** Resolves once every log is sealed. */
  async #sealed(): Promise<void> {
    const isSealed = ({ group }: NodeShard): boolean => group.wrap.kind === 'sealed';
    if (!this.#cluster) await this.#operations.enableEncryption();
    else await this.#sealedTogether(this.#cluster);
    await this.#until(isSealed);
  }

  /**
   * The node that leads the control shard of a new cluster seals it; the others wait until they
   * have applied that. A cluster that holds data in the clear is left as it is.
   */
  async #sealedTogether(cluster: Cluster): Promise<void> {
    const { keys, log } = this.#foundations;
    while (!keys.state.cutoverIndex.has(CONTROL_SHARD)) {
      this.#checkNotStopping();
      if (!keys.state.clusterId) this.#checkHoldsNoData();
      if (cluster.leadsControl) {
        await this.#operations.enableEncryption().catch((error: unknown) => {
          log.warn({ code: codeOf(error) }, 'the new cluster is not sealed yet');
        });
      }
      await new Promise((resolve) => setTimeout(resolve, SEAL_POLL_MS));
    }
  }

  /** A node may be stopped while it starts: nothing may begin after its end. */
  #checkNotStopping(): void {
    if (this.#stopping) throw stoppedWhileStarting();
  }

  get #isControlHalted(): boolean {
    return this.#shard(CONTROL_SHARD).group.state === 'halted';
  }

  async #listen(): Promise<void> {
    if (this.#isRestoring) return;
    const { directory, shards, log } = this.#foundations;
    const config = this.#config;
    const cluster = this.#cluster;
    const { tokenPath } = config.admin;
    const token = tokenPath
      ? await readToken(tokenPath)
      : await readOrMakeToken(directory.adminTokenPath);
    const redis = await openRedisListener(
      config.redis,
      {
        keyspace: keyspaceOf(shards, cluster?.view),
        infoSection: () => infoSection(this.admin.status()),
      },
      { log, teardown: this.#teardown },
    );
    const admin = await adminServer(config.admin, {
      operations: this.admin,
      ...(cluster && { forward: (call) => cluster.controlCalls.forward(call) }),
      token,
      onInternalError: (error) => log.error({ err: error }, 'an admin call failed'),
    });
    this.#teardown.add(() => admin.close());
    this.#redis = redis;
    this.#adminPort = admin.port;
    cluster?.serveClients(redis.port);
  }

  #reportReady(): void {
    if (this.#isRestoring) return;
    const { log, shards } = this.#foundations;
    const { encryption } = this.admin.status();
    const ports = { redis: this.redisPort, admin: this.adminPort };
    const client = this.#cluster ? 'redis-cli -c' : 'redis-cli';
    log.info(
      { ...ports, encryption, shards: shards.length },
      `ready: ${client} -p ${this.redisPort}`,
    );
  }

  #onKeyState(state: KeyState): void {
    const { keys, shards, audit } = this.#foundations;
    void audit.settle(state, 'adopted');
    // Registration rows are stored before the state, but a new key is claimed only after its entry.
    setImmediate(() => keys.state.clusterId && this.#refreshRowSeal());
    if (state.storageIndex !== undefined) {
      this.#refreshRowSeal();
      // A store that has failed takes nothing any more; the key state goes on.
      for (const { group, kv } of shards) if (group.state !== 'halted') kv.sealRows(keys.rowSeal);
    }
    if (state.sealedOnlyIndex !== undefined) for (const shard of shards) shard.refuseCleartext();
    this.#coordinator.consider();
  }

  /** Rows that are under an earlier key follow. */
  #refreshRowSeal(): void {
    const { keys, shards } = this.#foundations;
    keys.refreshRowSeal();
    for (const { kv } of shards) kv.rewriteRows();
  }

  /** Waits until every shard that has not halted is as asked. */
  async #until(reached: (shard: NodeShard) => boolean): Promise<void> {
    const { shards } = this.#foundations;
    while (!shards.every((shard) => shard.group.state === 'halted' || reached(shard))) {
      this.#checkNotStopping();
      await new Promise((resolve) => setTimeout(resolve, LEADERSHIP_POLL_MS));
    }
  }

  async #stop(): Promise<void> {
    const { log } = this.#foundations;
    log.info('stopping');
    try {
      await this.#cluster?.leave();
      await this.#teardown.run();
      log.info('stopped');
    } catch (error) {
      log.error({ err: error }, NOT_CLOSED);
      process.exitCode = 1;
    } finally {
      this.#stopped.resolve();
    }
  }

  #shard(shardId: number): NodeShard {
    const shard = this.#foundations.shards[shardId];
    assert(shard, `shard ${shardId} exists`);
    return shard;
  }
}

function stoppedWhileStarting(): RaftsealError {
  return new RaftsealError('RAFTSEAL_NODE_NOT_READY', 'the node was stopped while it was starting');
}
