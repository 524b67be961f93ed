/**
 * The composition of a node: every package, wired in the order in which a start has to happen.
 *
 * 1. configuration, lock of the data directory
 * 2. KEK opened and probed
 * 3. sidecar read and authenticated, keys unwrapped, wraps of shards already cut over installed
 * 4. stores and logs opened, logs replayed: a refusal up to here burns no nonce epoch
 * 5. leadership, nonce epochs claimed and registered
 * 6. a new node is sealed from its first entry
 * 7. listeners
 *
 * A shard that halts leaves the others, and the node, up. Stopping goes through the same in reverse.
 */
import {
  assert,
  CONTROL_SHARD,
  codeOf,
  type KeyPurpose,
  type KeyState,
  RaftsealError,
} from '@raftseal/interface';
import { type Logger, pino } from 'pino';
import type { AdminOperations, LogRequest, NodeStatus } from './admin/operations.ts';
import { adminServer } from './admin/server.ts';
import { readOrMakeToken, readToken } from './admin/token.ts';
import { checkConfig, type NodeConfig } from './config.ts';
import { CutoverCoordinator } from './cutover-coordinator.ts';
import { readIdentity } from './data-directory.ts';
import {
  embeddedSource,
  type FoundationsConfig,
  type NodeFoundations,
  openFoundations,
} from './foundations.ts';
import { infoSection } from './info-section.ts';
import { KeyOperations } from './key-operations.ts';
import { checkKeyStateAge } from './key-state-age.ts';
import { keyspaceOf } from './keyspace-of-shards.ts';
import { NodeMetrics } from './node-metrics.ts';
import type { NodeShard } from './node-shard.ts';
import { nodeStatus } from './node-status.ts';
import { type RedisServer, type RedisServerOptions, redisServer } from './redis/index.ts';
import { Teardown } from './teardown.ts';
import { type LogEntrySummary, summarizeLog } from './verify/log-walk.ts';
import type { VerifyReport } from './verify/report.ts';
import { verifyNode } from './verify/verify.ts';

export interface NodeParts {
  /** Default: silent. */
  readonly log?: Logger;
  /** Aborted: the node stops. */
  readonly signal?: AbortSignal;
}

const LEADERSHIP_POLL_MS = 2;
const NOT_CLOSED = 'not everything could be closed';

/**
 * Starts a node; resolves once it serves.
 * @throws a coded error for every wrong option, file, permission, port or KEK; whatever was opened
 *   is closed again
 */
export async function startNode(config: NodeConfig, parts: NodeParts = {}): Promise<Node> {
  checkConfig(config);
  const log = parts.log ?? pino({ level: 'silent' });
  const teardown = new Teardown();
  try {
    const node = new Node(
      config,
      await openFoundations(config, embeddedSource(config), { log, teardown }),
      teardown,
    );
    await node.start();
    parts.signal?.addEventListener('abort', () => void node.stop(), { once: true });
    if (parts.signal?.aborted) void node.stop();
    return node;
  } catch (error) {
    await teardown.run().catch((failure: unknown) => log.error({ err: failure }, NOT_CLOSED));
    throw error;
  }
}

/**
 * Verifies the data directory of a node that is not running. Only a torn tail of the log is mended,
 * as at any start.
 */
export async function verifyStoppedNode(
  config: FoundationsConfig,
  log: Logger,
): Promise<VerifyReport> {
  if ((await readIdentity(config.dataPath)) === undefined) throw noDataDirectory(config.dataPath);
  const teardown = new Teardown();
  try {
    const parts = { log, teardown };
    return await verifyNode(await openFoundations(config, embeddedSource(config), parts));
  } finally {
    await teardown.run();
  }
}

/** A password is a byte string: each of its UTF-8 bytes is one char code. */
function redisOptionsOf({ redis }: NodeConfig): RedisServerOptions {
  const { host, port, password } = redis;
  if (password === undefined) return { host, port };
  return { host, port, password: Buffer.from(password).toString('latin1') };
}

export class Node implements AdminOperations {
  readonly #config: NodeConfig;
  readonly #foundations: NodeFoundations;
  readonly #teardown: Teardown;
  readonly #coordinator: CutoverCoordinator;
  readonly #operations: KeyOperations;
  readonly #metrics: NodeMetrics;
  readonly #startedAtMs = Date.now();
  readonly #stopped: { readonly promise: Promise<void>; readonly resolve: () => void };
  #redis: RedisServer | undefined;
  #adminPort = 0;
  #stopping: Promise<void> | undefined;

  constructor(config: NodeConfig, foundations: NodeFoundations, teardown: Teardown) {
    this.#config = config;
    this.#foundations = foundations;
    this.#teardown = teardown;
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
      kek: keys.kek,
      unwrapDek: keys.unwrapDek,
      keyLifecycle: keys.lifecycle,
      registry: keys.registry,
      controlGroup: this.#shard(CONTROL_SHARD).group,
      shardIds: shards.map(({ shardId }) => shardId),
      clock: Date.now,
    });
    this.#metrics = new NodeMetrics(() => this.status());
    let resolve = (): void => undefined;
    const promise = new Promise<void>((settle) => {
      resolve = settle;
    });
    this.#stopped = { promise, resolve };
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

  get healthy(): boolean {
    return this.#redis !== undefined && this.#foundations.shards.every((shard) => shard.isServing);
  }

  /** Replays, leads, registers, seals a new node, and opens the listeners. Once. */
  async start(): Promise<void> {
    await this.#replay();
    await this.#lead();
    await this.#prepareSealing();
    for (const shard of this.#foundations.shards) {
      shard.startExpiry();
      shard.startTruncation();
    }
    await this.#listen();
  }

  /** Stops taking commands, answers those under way, flushes, closes. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  status(): NodeStatus {
    const { keys, config, shards } = this.#foundations;
    return nodeStatus({
      keys,
      shards,
      ready: this.#redis !== undefined,
      uptimeMs: Date.now() - this.#startedAtMs,
      clients: this.#redis?.clientCount ?? 0,
      kekUri: config.kekUri ?? null,
    });
  }

  async enableEncryption(waves?: readonly (readonly number[])[]): Promise<void> {
    await this.#operations.enableEncryption(waves);
  }

  rotate(purpose: KeyPurpose): Promise<number> {
    return this.#operations.rotate(purpose);
  }

  async inspectLog(request: LogRequest): Promise<readonly LogEntrySummary[]> {
    const shard = this.#foundations.shards[request.shardId];
    if (shard) return summarizeLog(this.#foundations.logs.engine(shard.shardId), request);
    const message = `expected a shard from 0 to ${this.#foundations.shards.length - 1}`;
    throw new RaftsealError('RAFTSEAL_NODE_BAD_REQUEST', message);
  }

  verify(): Promise<VerifyReport> {
    return verifyNode(this.#foundations);
  }

  metrics(): Promise<{ readonly contentType: string; readonly text: string }> {
    return this.#metrics.text();
  }

  async #replay(): Promise<void> {
    const { keys, shards, logs } = this.#foundations;
    for (const { shardId, kv } of shards) {
      const { durableIndex } = kv;
      const engine = logs.engine(shardId);
      const { headIndex } = await engine.bounds();
      if (headIndex < durableIndex) throw logBehindStore(shardId, headIndex, durableIndex);
      const cutoverIndex = keys.state.cutoverIndex.get(shardId);
      await checkKeyStateAge(engine, { shardId, durableIndex, cutoverIndex });
      if (shardId === CONTROL_SHARD) keys.lifecycle.noteControlHead(headIndex);
    }
    const results = await Promise.allSettled(shards.map(({ group }) => group.replay()));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed && shards.every(({ group }) => group.state === 'halted')) throw failed.reason;
    this.#checkEncryptionMatchesData(keys.state);
  }

  /** Encryption is turned on for data in the clear by a cutover under way, not by a restart. */
  #checkEncryptionMatchesData(state: KeyState): void {
    const { config, shards, directory } = this.#foundations;
    const holdsData = shards.some(({ group }) => group.appliedIndex > 0n);
    if (config.encryption === 'on' && !state.clusterId && holdsData) {
      throw new RaftsealError(
        'RAFTSEAL_NODE_CLEARTEXT_DATA',
        `${directory.path} holds data in the clear: start with --encryption off and --kek, then ` +
          'run `raftseal encryption enable`, which seals it without a pause; nothing was changed',
      );
    }
  }

  async #lead(): Promise<void> {
    const { keys, shards } = this.#foundations;
    keys.lifecycle.onChange((state) => this.#onKeyState(state));
    for (const shard of shards) {
      shard.onState(() => this.#coordinator.consider());
      shard.group.campaign();
    }
    await this.#until(({ group }) => group.state === 'leading');
  }

  /** From here on this process may seal; a new node is sealed before anyone can write to it. */
  async #prepareSealing(): Promise<void> {
    const { config, keys, log } = this.#foundations;
    if (this.#shard(CONTROL_SHARD).group.state === 'halted') {
      log.error('the control shard has halted: nothing can be written until it is restored');
      return;
    }
    if (keys.state.clusterId) await this.#operations.registerWriter();
    // A cutover that was under way when the node went down goes on.
    this.#coordinator.consider();
    if (config.encryption === 'on') {
      await this.#operations.enableEncryption();
      await this.#until(({ group }) => group.wrap.kind === 'sealed');
    }
    if (keys.state.clusterId) keys.refreshRowSeal();
    for (const { kv } of this.#foundations.shards) kv.startCheckpoints();
  }

  async #listen(): Promise<void> {
    const { directory, shards, log } = this.#foundations;
    const config = this.#config;
    const { tokenPath } = config.admin;
    const token = tokenPath
      ? await readToken(tokenPath)
      : await readOrMakeToken(directory.adminTokenPath);
    const redis = redisServer(redisOptionsOf(config), {
      keyspace: keyspaceOf(shards),
      infoSection: () => infoSection(this.status()),
      report: ({ level, message, error }) => log[level]({ err: error }, message),
    });
    await redis.listen();
    this.#teardown.add(() => redis.close());
    const admin = await adminServer(config.admin, {
      operations: this,
      token,
      onInternalError: (error) => log.error({ err: error }, 'an admin call failed'),
    });
    this.#teardown.add(() => admin.close());
    this.#redis = redis;
    this.#adminPort = admin.port;
    const { encryption } = this.status();
    log.info(
      { redis: redis.port, admin: admin.port, encryption, shards: shards.length },
      `ready: redis-cli -p ${redis.port}`,
    );
  }

  #onKeyState(state: KeyState): void {
    const { keys, shards } = this.#foundations;
    // Registration rows are stored before the state, but a new key is claimed only after its entry.
    setImmediate(() => keys.state.clusterId && keys.refreshRowSeal());
    if (state.storageIndex !== undefined) {
      keys.refreshRowSeal();
      for (const { kv } of shards) kv.sealRows(keys.rowSeal);
    }
    this.#coordinator.consider();
  }

  /** Waits until every shard that has not halted is as asked. */
  async #until(reached: (shard: NodeShard) => boolean): Promise<void> {
    const { shards } = this.#foundations;
    while (!shards.every((shard) => shard.group.state === 'halted' || reached(shard))) {
      await new Promise((resolve) => setTimeout(resolve, LEADERSHIP_POLL_MS));
    }
  }

  async #stop(): Promise<void> {
    const { log } = this.#foundations;
    log.info('stopping');
    try {
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

function noDataDirectory(path: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_DATA_DIR',
    `expected the data directory of a node at ${path}, found none: --data says where it is`,
  );
}

/** Entries that the store has seen are gone: the log was deleted, or is an older copy. */
function logBehindStore(shardId: number, headIndex: bigint, durableIndex: bigint): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_LOG_BEHIND_STORE',
    `the log of shard ${shardId} ends at ${headIndex} and its store has applied ${durableIndex}: ` +
      'the log was deleted or is an older copy; restore the whole data directory',
  );
}
