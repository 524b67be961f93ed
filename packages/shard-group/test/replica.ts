/** One node's replica of a shard: group, state machine and keys over a simulated engine. */
import { codeOf, type RaftEngine, type RaftsealError } from '@raftseal/interface';
import type { SimulatedCluster } from '@raftseal/raft-engine-simulated';
import {
  type CutoverStep,
  ShardGroup,
  type ShardGroupOptions,
  type ShardGroupParts,
  type ShardGroupState,
} from '../src/index.ts';
import { type Appended, ListDisk, ListMachine } from './list-machine.ts';
import { KeysDisk, ShardKeys } from './shard-keys.ts';

/** What survives the process. */
export class ReplicaDisk {
  readonly list: ListDisk = new ListDisk();
  readonly keys: KeysDisk = new KeysDisk();
}

export interface ReplicaOptions extends Partial<ShardGroupOptions> {
  readonly nodeId?: string;
  readonly writerId?: number;
  readonly disk?: ReplicaDisk;
  readonly clock?: () => number;
  readonly onNonce?: (nonce: string) => void;
  readonly parts?: Partial<ShardGroupParts<Appended>>;
}

export class Replica {
  readonly nodeId: string;
  readonly group: ShardGroup<Appended>;
  readonly engine: RaftEngine;
  readonly machine: ListMachine;
  readonly keys: ShardKeys;
  readonly states: ShardGroupState[] = [];
  readonly cutoverSteps: CutoverStep[] = [];
  readonly halts: RaftsealError[] = [];
  /** What the installer does; a test takes it away to see what then breaks. */
  installs = true;

  constructor(cluster: SimulatedCluster, options: ReplicaOptions = {}) {
    const { nodeId = 'a', writerId = 1, disk = new ReplicaDisk(), shardId = 0 } = options;
    const { onNonce, clock, parts, ...groupOptions } = options;
    this.nodeId = nodeId;
    this.engine = cluster.engine(nodeId, shardId);
    this.machine = new ListMachine(disk.list);
    this.keys = new ShardKeys({
      shardId,
      writerId,
      disk: disk.keys,
      install: (wrap) => {
        if (this.installs) this.group.setRaftPayloadWrap(wrap);
      },
      ...(onNonce === undefined ? {} : { onNonce }),
    });
    this.group = new ShardGroup<Appended>(
      { ...groupOptions, shardId },
      {
        engine: this.engine,
        stateMachine: this.machine,
        keyLifecycle: this.keys,
        wrap: this.keys.wrap,
        onState: (state) => this.states.push(state),
        onHalt: (error) => this.halts.push(error),
        onCutoverStep: (step) => this.cutoverSteps.push(step),
        ...(clock === undefined ? {} : { clock }),
        ...parts,
      },
    );
  }

  /** Replays and stands for election. */
  async start(): Promise<this> {
    await this.group.replay();
    this.group.campaign();
    return this;
  }

  /** Replays, stands for election, and resolves once it leads. */
  async lead(): Promise<this> {
    await this.start();
    await until(() => this.group.state === 'leading');
    return this;
  }

  /** Resolves to the result, or to the code of the refusal. */
  propose(command: string): Promise<Appended | string> {
    return new Promise((resolve) => {
      this.group.propose(Buffer.from(command), (error, result) => {
        resolve(error ? error.code : (result ?? 'neither error nor result'));
      });
    });
  }

  proposeKeys(body: string): Promise<bigint> {
    return this.group.proposeKeyLifecycle(Buffer.from(body));
  }

  cutOver(marker = 'marker'): Promise<void> {
    return this.group.cutOver(Buffer.from(marker));
  }

  /** The lists as plain arrays. */
  get lists(): Record<string, string[]> {
    return Object.fromEntries(this.machine.lists);
  }
}

/** Resolves once `condition` holds; a test that waits in vain runs into its own time limit. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Lets everything that is ready run. */
export async function settle(turns = 40): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** The code that a promise rejects with, or `resolved`. */
export function refusalOf(promise: Promise<unknown>): Promise<string | undefined> {
  return promise.then(
    () => 'resolved',
    (error: unknown) => codeOf(error) ?? String(error),
  );
}

/** The tags of a log as text: C in the clear, S sealed. */
export function tagsOf(cluster: SimulatedCluster, shardId = 0): string {
  return cluster
    .log(shardId)
    .map(({ payload }) => String.fromCharCode(payload[0] ?? 0x3f))
    .join('');
}
