/**
 * Nodes with everything that concerns keys, and little else: real key lifecycle, sidecar, registry,
 * keyring and shard groups, over a simulated log and a state machine that repeats what it is told.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NoteEntry } from '@raftseal/applier';
import {
  CONTROL_SHARD,
  type CommandBatch,
  codeOf,
  type KekProvider,
  type RaftEngine,
} from '@raftseal/interface';
import { type SimulatedCluster, simulatedCluster } from '@raftseal/raft-engine-simulated';
import { ShardGroup } from '@raftseal/shard-group';
import { onTestFinished } from 'vitest';
import { CutoverCoordinator } from '../src/cutover-coordinator.ts';
import { kekFromUri } from '../src/kek-from-uri.ts';
import { KekSet } from '../src/kek-set.ts';
import { KeyOperations } from '../src/key-operations.ts';
import { NodeKeys } from '../src/node-keys.ts';
import { Teardown } from '../src/teardown.ts';
import { temporaryDirectory } from './temporary-directory.ts';

/** Answers each command with itself; keeps nothing, so that every start replays the whole log. */
class EchoMachine {
  readonly durableIndex = 0n;
  readonly durableTimestampMs = 0;

  apply(batch: CommandBatch): string[] {
    const results: string[] = [];
    while (batch.next()) results.push(batch.bytes.toString('utf8', batch.start, batch.end));
    return results;
  }

  skip(): void {}

  async flush(): Promise<bigint> {
    return this.durableIndex;
  }
}

export type EchoGroup = ShardGroup<string>;

export interface KeyNodeOptions {
  readonly cluster: SimulatedCluster;
  readonly shardIds: readonly number[];
  readonly nodeId?: string;
  /** Default: a new one. */
  readonly directory?: string;
  /** Default: a new one. */
  readonly keks?: KekSet;
  readonly encryption?: 'on' | 'off';
  /** Keeps a record of every entry. */
  readonly note?: NoteEntry;
  /** First writers besides this node. Default: none. */
  readonly otherMembers?: readonly string[];
}

export interface KeyNode {
  readonly nodeId: string;
  readonly directory: string;
  readonly keys: NodeKeys;
  readonly groups: readonly EchoGroup[];
  readonly operations: KeyOperations;
  readonly coordinator: CutoverCoordinator;
  /** Markers that could not be led: shard and code. */
  readonly failures: string[];
  /** Stands for election in every shard. */
  campaign(): void;
  /** Ends the process: nothing of it runs on. */
  stop(): Promise<void>;
}

export function newCluster(nodes: readonly string[], shards: readonly number[]): SimulatedCluster {
  const cluster = simulatedCluster({ nodes, shards });
  onTestFinished(() => cluster.close());
  return cluster;
}

/** A new KEK in a file of its own; closed when the test is over. */
export async function newKek(): Promise<KekProvider> {
  const path = join(temporaryDirectory(), 'kek');
  writeFileSync(path, randomBytes(32), { mode: 0o600 });
  const kek = await kekFromUri(`file:${path}`);
  onTestFinished(() => kek.close());
  return kek;
}

/** Opens a node and replays its logs, as a start does. */
export async function openKeyNode(options: KeyNodeOptions): Promise<KeyNode> {
  const { cluster, shardIds, nodeId = 'a', encryption = 'on', note } = options;
  const directory = options.directory ?? join(temporaryDirectory(), 'keys');
  const keks = options.keks ?? KekSet.of(await newKek());
  mkdirSync(directory, { recursive: true });
  const teardown = new Teardown();
  const stop = (): Promise<void> => teardown.run();
  onTestFinished(stop);
  const request = { nodeId, directory, encryption, keks, ...(note && { note }) };
  const keys = await NodeKeys.open(request, teardown);
  const groups = shardIds.map((shardId) => {
    const engine = cluster.engine(nodeId, shardId);
    const group = newGroup({ shardId, engine, keys, onState: () => coordinator.consider() });
    teardown.add(() => group.stop());
    return group;
  });
  const failures: string[] = [];
  const coordinator = new CutoverCoordinator({
    groups,
    keyState: () => keys.state,
    onFailure: (shardId, error) => failures.push(`${shardId} ${codeOf(error)}`),
  });
  teardown.add(() => coordinator.stop());
  keys.lifecycle.onChange(() => coordinator.consider());
  const control = await cluster.engine(nodeId, CONTROL_SHARD).bounds();
  keys.lifecycle.noteControlHead(control.headIndex);
  const operations = operationsOf(keys, groups, options.otherMembers ?? []);
  await Promise.all(groups.map((group) => group.replay()));
  const campaign = (): void => {
    for (const group of groups) group.campaign();
  };
  return { nodeId, directory, keys, groups, operations, coordinator, failures, campaign, stop };
}

/** Opens a node, and resolves once it leads every shard. */
export async function leadingKeyNode(options: KeyNodeOptions): Promise<KeyNode> {
  const node = await openKeyNode(options);
  node.campaign();
  await until(() => node.groups.every((group) => group.state === 'leading'));
  return node;
}

/** Resolves once it holds; a test that waits in vain runs into its time limit. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Resolves to the result of a command, or to the code of its refusal. */
export function propose(group: EchoGroup | undefined, command: string): Promise<string> {
  return new Promise((resolve) => {
    if (!group) throw new Error('the shard exists');
    group.propose(Buffer.from(command), (error, result) => {
      resolve(error ? error.code : (result ?? 'neither error nor result'));
    });
  });
}

/** The tags of a shard's log as text: C in the clear, S sealed. */
export function tagsOf(cluster: SimulatedCluster, shardId: number): string {
  const tags = cluster.log(shardId).map(({ payload }) => payload.subarray(0, 1));
  return Buffer.concat(tags).toString('latin1');
}

interface GroupParts {
  readonly shardId: number;
  readonly engine: RaftEngine;
  readonly keys: NodeKeys;
  readonly onState: () => void;
}

function newGroup({ shardId, engine, keys, onState }: GroupParts): EchoGroup {
  const group = new ShardGroup<string>(
    { shardId },
    {
      engine,
      stateMachine: new EchoMachine(),
      keyLifecycle: keys.lifecycle,
      wrap: keys.installer.wrapOf(shardId),
      onState,
    },
  );
  keys.installer.attach(group);
  return group;
}

function operationsOf(
  keys: NodeKeys,
  groups: readonly EchoGroup[],
  otherMembers: readonly string[],
): KeyOperations {
  const controlGroup = groups.find(({ shardId }) => shardId === CONTROL_SHARD);
  if (!controlGroup) throw new Error('every node has the control shard');
  return new KeyOperations({
    nodeId: keys.nodeId,
    keks: keys.keks,
    keyLifecycle: keys.lifecycle,
    registry: keys.registry,
    controlGroup,
    otherMembers: () => otherMembers,
    shardIds: groups.map(({ shardId }) => shardId),
    clock: Date.now,
  });
}
