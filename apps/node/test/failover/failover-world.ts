/** Three nodes, three shards and an operator who asks for a cutover; a test takes the leader away. */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  encodeEntry,
  type KeyLifecycleEntry,
  MemoryWriterRegistry,
  precheck,
} from '@raftseal/applier';
import {
  assert,
  CLUSTER_ID_BYTES,
  CONTROL_SHARD,
  DEK_BYTES,
  type KekProvider,
  type KeyPurpose,
} from '@raftseal/interface';
import { createKekFile, kekFromFile } from '@raftseal/kek-file';
import {
  type PlantedFault,
  type SimulatedCluster,
  simulatedCluster,
} from '@raftseal/raft-engine-simulated';
import { KekSet } from '../../src/kek-set.ts';
import { isMarker, type NodeDisk, NodeProcess } from './node-process.ts';
import type { CutoverStep, Trap } from './trap.ts';

export const faults = ['crash', 'pause and resume', 'deposal', 'partition'] as const;

export type Fault = (typeof faults)[number];

export interface FailoverOptions {
  readonly directory: string;
  readonly seed?: number;
  readonly plantedFaults?: readonly PlantedFault[];
  /** False for nodes whose installer does nothing. */
  readonly installs?: boolean;
}

/** One write of a client, as the client saw it. Times count events. */
export interface Operation {
  readonly shardId: number;
  readonly key: string;
  readonly value: string;
  readonly startedAt: number;
  /** Undefined where no answer came: the process was gone first. */
  endedAt?: number;
  /** Position in the key's list, or the code of the refusal. */
  reply?: number | string;
}

/** Something halted: what a test waits for will not come. */
export class Halted extends Error {}

const nodeIds = ['a', 'b', 'c'] as const;
/** Invariant 12: with faults gone, writes resume within this time. */
const RESUME_MS = 10_000;

export class FailoverWorld {
  readonly shardIds: readonly number[] = [0, 1, 2];
  readonly options: Required<FailoverOptions>;
  readonly kek: KekProvider;
  readonly cluster: SimulatedCluster;
  readonly nonces: string[] = [];
  readonly operations: Operation[] = [];
  /** What went wrong while it went wrong. */
  readonly notes: string[] = [];
  trap: Trap | undefined;
  /** Whether the marker stood in the log when the leader was lost. */
  markerLanded = false;
  readonly #disks = new Map<string, NodeDisk>();
  readonly #processes = new Map<string, NodeProcess>();
  #ending: Promise<void> = Promise.resolve();
  #events = 0;
  #closed = false;

  /** Node `a` leads every shard of a cluster that has its keys and writes in the clear. */
  static async open(options: FailoverOptions): Promise<FailoverWorld> {
    const kekPath = join(options.directory, 'kek');
    await createKekFile(kekPath);
    const world = new FailoverWorld(options, await kekFromFile(kekPath));
    for (const shardId of world.shardIds) world.cluster.elect({ nodeId: 'a', shardId });
    await Promise.all(nodeIds.map((nodeId) => world.#start(nodeId)));
    await world.until('node a leads', () =>
      world.shardIds.every((shardId) => world.leading(shardId)?.nodeId === 'a'),
    );
    await world.#bootstrap();
    return world;
  }

  private constructor(options: FailoverOptions, kek: KekProvider) {
    this.options = { seed: 1, plantedFaults: [], installs: true, ...options };
    this.kek = kek;
    const { seed, plantedFaults, directory } = this.options;
    this.cluster = simulatedCluster({
      seed,
      plantedFaults,
      nodes: nodeIds,
      shards: this.shardIds,
    });
    for (const nodeId of nodeIds) {
      const disk = { directory: join(directory, nodeId), registry: new MemoryWriterRegistry() };
      mkdirSync(disk.directory);
      this.#disks.set(nodeId, disk);
    }
  }

  get processes(): readonly NodeProcess[] {
    return [...this.#processes.values()];
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  process(nodeId: string): NodeProcess | undefined {
    return this.#processes.get(nodeId);
  }

  /** The process that leads a shard and serves. */
  leading(shardId: number): NodeProcess | undefined {
    const nodeId = this.cluster.leader(shardId)?.nodeId;
    const process = this.#processes.get(nodeId ?? '');
    const state = process?.group(shardId).state;
    return state === 'leading' || state === 'gated' ? process : undefined;
  }

  /** Where a process is in its cutover. Only the leader's way springs the trap. */
  pass(step: CutoverStep, process: NodeProcess, shardId: number): void {
    if (this.cluster.leader(shardId)?.nodeId === process.nodeId) this.trap?.pass(step, shardId);
  }

  /** The marker is about to be appended: what the trap needs is put in its way. */
  prepareMarker(process: NodeProcess, shardId: number): void {
    const replica = { nodeId: process.nodeId, shardId };
    const is = (step: CutoverStep): boolean => this.trap?.isArmedAt(step, shardId) ?? false;
    if (is('marker ambiguous and landed')) this.cluster.faultNextAppend(replica, 'ambiguousLanded');
    if (is('marker ambiguous and lost')) this.cluster.faultNextAppend(replica, 'ambiguousLost');
    if (is('marker ambiguous and late')) this.cluster.faultNextAppend(replica, 'ambiguousLate');
    if (!is('marker committed, not applied')) return;
    for (const nodeId of nodeIds) {
      if (nodeId !== process.nodeId) this.cluster.holdDelivery({ nodeId, shardId });
    }
  }

  /** Takes node `a` away, at once. */
  lose(fault: Fault, shardId: number): void {
    this.#takeAway(fault, shardId);
    this.markerLanded = this.cluster.log(shardId).some(({ payload }) => isMarker(payload));
  }

  #takeAway(fault: Fault, shardId: number): void {
    switch (fault) {
      case 'crash': {
        const process = this.#processes.get('a');
        this.#processes.delete('a');
        this.#ending = process?.end() ?? this.#ending;
        return;
      }
      case 'pause and resume':
        this.cluster.pause('a');
        for (const led of this.shardIds) {
          if (this.cluster.leader(led)?.nodeId === 'a') {
            this.cluster.elect({ nodeId: 'b', shardId: led });
          }
        }
        return;
      case 'deposal':
        this.cluster.elect({ nodeId: 'b', shardId });
        return;
      case 'partition':
        this.cluster.partition('a');
        return;
    }
  }

  /** Node `a` comes back. */
  async recover(fault: Fault, shardId: number): Promise<void> {
    if (fault === 'pause and resume') this.cluster.resume('a');
    if (fault === 'partition') this.cluster.heal('a');
    if (fault === 'crash') {
      await this.#ending;
      this.cluster.restart('a');
      await this.#register(await this.#start('a'));
    } else if (this.cluster.landLateAppends({ nodeId: 'a', shardId }) > 0) {
      this.notes.push('an append of a leader of the past landed');
    }
  }

  release(shardId: number): void {
    for (const nodeId of nodeIds) this.cluster.releaseDelivery({ nodeId, shardId });
  }

  /** Asks whoever leads the control shard until the request stands in its log. */
  async requestCutover(): Promise<void> {
    while (!this.#closed) {
      const leader = this.leading(CONTROL_SHARD);
      if (leader?.lifecycle.state.cutoverIntent) return;
      const dekId = leader?.lifecycle.state.activeDekId.raft ?? 0;
      const request = { kind: 'enable-raft', dekId, controlIndex: 0n, waves: [[1], [2]] } as const;
      if (leader) await this.#ask(leader, request, (group, body) => group.cutOver(body));
      await pause();
    }
  }

  /** A write to whoever leads, or to a named node; resolves once answered, or never to be. */
  async write(shardId: number, key: string, nodeId?: string): Promise<Operation> {
    const to = nodeId ?? this.cluster.leader(shardId)?.nodeId ?? 'b';
    const value = `canary-${this.operations.length}`;
    this.#events += 1;
    const operation: Operation = { shardId, key, value, startedAt: this.#events };
    this.operations.push(operation);
    const process = this.#processes.get(to);
    if (!process) return operation;
    const reply = await unlessGone(
      process,
      new Promise<number | string>((resolve) => {
        process.group(shardId).propose(Buffer.from(`${key}=${value}`), (error, position) => {
          resolve(error ? error.code : (position ?? 'no result'));
        });
      }),
    );
    if (reply === undefined) return operation;
    this.#events += 1;
    operation.reply = reply;
    operation.endedAt = this.#events;
    return operation;
  }

  /** Writes until a write is acknowledged. */
  async writeUntilDone(shardId: number): Promise<void> {
    const deadline = performance.now() + RESUME_MS;
    for (;;) {
      const { reply } = await this.write(shardId, `probe${shardId}`);
      if (typeof reply === 'number') return;
      this.#checkGoing(`a write to shard ${shardId} is answered`, deadline);
      await pause();
    }
  }

  /** @throws Halted; Error where it takes too long */
  async until(what: string, condition: () => boolean): Promise<void> {
    const deadline = performance.now() + RESUME_MS;
    while (!condition()) {
      this.#checkGoing(what, deadline);
      await pause();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.processes.map((process) => process.stop()));
    await this.#ending;
    await this.cluster.close();
    await this.kek.close();
  }

  #checkGoing(what: string, deadline: number): void {
    if (this.processes.some(({ halts }) => halts.length > 0)) throw new Halted(what);
    if (performance.now() < deadline) return;
    const states = this.processes.map(({ nodeId, groups }) => {
      const shards = [...groups.values()].map(({ state, appliedIndex, wrap }) => {
        return `${state} ${appliedIndex} ${wrap.kind}`;
      });
      return `${nodeId}: ${shards.join(', ')}`;
    });
    throw new Error(`invariant 12: in vain for ${RESUME_MS} ms: ${what} (${states.join('; ')})`);
  }

  async #start(nodeId: string): Promise<NodeProcess> {
    const disk = this.#disks.get(nodeId);
    assert(disk, 'every node has a disk');
    const process = await NodeProcess.open(nodeId, disk, this);
    this.#processes.set(nodeId, process);
    try {
      await process.run();
    } catch (cause) {
      throw process.halts.length > 0 ? new Halted(`${nodeId} replays`, { cause }) : cause;
    }
    return process;
  }

  async #bootstrap(): Promise<void> {
    const clusterId = randomBytes(CLUSTER_ID_BYTES);
    const purposes: KeyPurpose[] = ['storage', 'raft', 'index'];
    const keys = await Promise.all(
      purposes.map(async (purpose, at) => {
        const binding = { clusterId, dekId: at + 1, purpose };
        const bytes = await this.kek.wrapKey(randomBytes(DEK_BYTES), binding);
        const wraps = [{ kekUri: this.kek.kekUri, bytes }];
        return { dekId: at + 1, purpose, wraps, createdAtMs: 1_700_000_000_000 };
      }),
    );
    const entry = encodeEntry({ kind: 'bootstrap', clusterId, keys, writers: [...nodeIds] });
    await this.leading(CONTROL_SHARD)?.group(CONTROL_SHARD).proposeKeyLifecycle(entry);
    await this.until('every node has its keys', () =>
      this.processes.every(({ isRegistered }) => isRegistered),
    );
  }

  /** A new process claims a nonce epoch, and whoever leads the control shard records it. */
  async #register(process: NodeProcess): Promise<void> {
    const { nodeId, lifecycle } = process;
    const dekId = lifecycle.state.activeDekId.raft;
    const { nonceEpoch, claimId } = await lifecycle.claimNonceEpoch(dekId);
    while (!process.isRegistered && !this.#closed) {
      const leader = this.leading(CONTROL_SHARD);
      const entry = { kind: 'register', nodeId, dekId, epoch: nonceEpoch, claimId } as const;
      if (leader) {
        await this.#ask(leader, entry, (group, body) => group.proposeKeyLifecycle(body));
      }
      await pause();
    }
  }

  /** What the leader refuses is asked again by the caller. */
  async #ask(
    leader: NodeProcess,
    entry: KeyLifecycleEntry,
    act: (group: ReturnType<NodeProcess['group']>, body: Buffer) => Promise<unknown>,
  ): Promise<void> {
    const { state } = leader.lifecycle;
    const parts = { state, registry: leader.registry, unwrapDek: KekSet.of(this.kek).unwrap };
    const { body } = await precheck(parts, { shardId: CONTROL_SHARD, entry });
    const asked = act(leader.group(CONTROL_SHARD), body).catch(() => undefined);
    await unlessGone(leader, asked);
  }
}

/** What a process answers, or undefined once it is gone. */
async function unlessGone<T>(process: NodeProcess, answer: Promise<T>): Promise<T | undefined> {
  const { signal } = process.gone;
  return await new Promise((resolve, reject) => {
    const gone = (): void => resolve(undefined);
    signal.addEventListener('abort', gone, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener('abort', gone));
  });
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
