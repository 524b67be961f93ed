/** A node of a run: its disk, and one process after the other over it. */
import { createHash } from 'node:crypto';
import { codeOf, type KekProvider } from '@raftseal/interface';
import { kekInMemory } from '@raftseal/kek-memory';
import type { SimulatedCluster } from '@raftseal/raft-engine-simulated';
import type { Random } from '@raftseal/rigs/random';
import { KekSet } from '@raftseal/server/composition';
import { Life } from './disk/life.ts';
import { NodeDisk } from './disk/node-disk.ts';
import { isTransient, NodeProcess, type NodeProcessParts } from './node-process.ts';
import { type DiskFound, type NodeId, shardIds } from './schedule.ts';
import type { VirtualClock } from './virtual-clock.ts';

export interface SimulatedNodeParts {
  readonly nodeId: NodeId;
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly cluster: SimulatedCluster;
  readonly diskLatencyMs: () => number;
  /** What every process of it is put together from. */
  readonly process: Omit<NodeProcessParts, 'nodeId' | 'disk' | 'life' | 'keks' | 'onHalt'>;
  readonly kekUris: () => readonly string[];
  /** The other nodes' disks have what this one would lack with a disk that goes so far. */
  readonly mayFallBackTo: (durableIndexes: readonly bigint[]) => boolean;
  readonly onEnded: (process: NodeProcess) => void;
  /** A shard of a process that lives has halted. */
  readonly onHalt: (where: string, error: unknown) => void;
  /** A start was refused that nothing excuses. */
  readonly onRefused: (where: string, error: unknown) => void;
}

const COPIES_MAX = 3;
const RETRY_MS = 200;

/** What a start says of a folder of keys that is older than the rest of the disk. */
const oldKeysRefusals: ReadonlySet<string> = new Set([
  'RAFTSEAL_KV_ROW_CORRUPT',
  'RAFTSEAL_KV_SEAL_REQUIRED',
  'RAFTSEAL_KV_STORE_SEALED_ONLY',
  'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG',
]);

export class SimulatedNode {
  readonly nodeId: NodeId;
  isPaused = false;
  isIsolated = false;
  disk: NodeDisk = NodeDisk.empty(shardIds.length);
  /** How often it was started. */
  starts = 0;
  /** Starts that were refused as they have to be, by code. */
  readonly refusals: Map<string, number> = new Map();
  readonly #parts: SimulatedNodeParts;
  readonly #copies: NodeDisk[] = [];
  #life: Life | undefined;
  #process: NodeProcess | undefined;
  /** Where an operator put old keys: the disk as it was. */
  #before: NodeDisk | undefined;

  constructor(parts: SimulatedNodeParts) {
    this.#parts = parts;
    this.nodeId = parts.nodeId;
  }

  /** The process, once it has opened its disk. */
  get process(): NodeProcess | undefined {
    return this.#process;
  }

  get isUp(): boolean {
    return this.#life !== undefined;
  }

  get durableIndexes(): readonly bigint[] {
    this.#noteDurable();
    return this.disk.durableIndexes;
  }

  copyDisk(): void {
    this.#noteDurable();
    this.#copies.push(this.disk.copy());
    if (this.#copies.length > COPIES_MAX) this.#copies.splice(0, 1);
  }

  start(): void {
    if (this.isUp) return;
    const { clock, cluster, diskLatencyMs } = this.#parts;
    cluster.restart(this.nodeId);
    this.starts++;
    const life = new Life({ clock, latencyMs: diskLatencyMs });
    this.#life = life;
    void this.#run(life);
  }

  /** The process ends as by kill -9, or with the power. */
  crash(isPowerCut: boolean): void {
    const life = this.#life;
    if (life === undefined) return;
    const { cluster, random, onEnded } = this.#parts;
    this.#noteDurable();
    life.end();
    this.#life = undefined;
    this.isPaused = false;
    this.isIsolated = false;
    cluster.crash(this.nodeId);
    const process = this.#process;
    this.#process = undefined;
    if (process) {
      process.end();
      onEnded(process);
    }
    this.#parts.process.plant?.afterCrash?.(this.disk, this.#parts.clock);
    if (isPowerCut) this.disk.files.loseUnflushed(random);
  }

  /** While it is down. */
  putDisk(found: DiskFound): boolean {
    const { random, mayFallBackTo } = this.#parts;
    if (found === 'same' || this.#copies.length === 0 || this.isUp) return false;
    const copy = random.pick(this.#copies);
    if (found === 'old keys') {
      this.#before ??= this.disk;
      this.disk = this.disk.withKeysOf(copy);
      return true;
    }
    if (!mayFallBackTo(copy.durableIndexes)) return false;
    this.disk = copy.copy();
    this.#before = undefined;
    return true;
  }

  async #run(life: Life): Promise<void> {
    const { process: parts, kekUris, onHalt, onRefused } = this.#parts;
    const where = `node ${this.nodeId}`;
    try {
      const process = await NodeProcess.open({
        ...parts,
        keks: await KekSet.open(kekUris(), openKek),
        nodeId: this.nodeId,
        disk: this.disk,
        life,
        onHalt: (shardId, error) => {
          if (!life.isOver) onHalt(`${where}, shard ${shardId}`, error);
        },
      });
      if (life.isOver) return;
      this.#process = process;
      await process.start();
      this.#before = undefined;
    } catch (error) {
      if (life.isOver) return;
      const code = codeOf(error) ?? '';
      this.crash(false);
      if (this.#before !== undefined && oldKeysRefusals.has(code)) {
        this.disk = this.#before;
        this.#before = undefined;
      } else if (!isTransient(error)) {
        onRefused(where, error);
      }
      this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
      await this.#parts.clock.sleep(RETRY_MS);
      this.start();
    }
  }

  #noteDurable(): void {
    const shards = this.#process?.shards;
    if (shards) this.disk.durableIndexes = shards.map(({ kv }) => kv.durableIndex);
  }
}

/** The same KEK for the same name, on every node. */
async function openKek(uri: string): Promise<KekProvider> {
  return kekInMemory({ kek: createHash('sha256').update(uri).digest(), kekUri: uri });
}
