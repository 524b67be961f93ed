/** What must come about once the faults are over, each within a time. */
import { setTimeout as delay } from 'node:timers/promises';
import type { NodeStatus } from '../world/node-admin.ts';
import type { World } from '../world/world.ts';

const POLL_MS = 150;

/** @returns whether the condition came to hold in time */
export async function within(
  timeoutMs: number,
  condition: () => boolean | Promise<boolean>,
): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) return false;
    await delay(POLL_MS);
  }
  return true;
}

/** Of every node; a node that does not answer has none. */
export function statusesOf(world: World): Promise<readonly (NodeStatus | undefined)[]> {
  return Promise.all(world.nodes.map(({ admin }) => admin.status().catch(() => undefined)));
}

/** Every node knows every shard to be cut over, and seals its rows. */
export async function isSealedEverywhere(world: World): Promise<boolean> {
  const statuses = await statusesOf(world);
  return statuses.every((status) => status?.encryption === 'sealed' && status.storage === 'sealed');
}

/** Every node has started, and all replicas of every shard have applied as much. */
export async function isLevel(world: World): Promise<boolean> {
  const statuses = await statusesOf(world);
  if (!statuses.every((status) => status?.ready)) return false;
  const applied = statuses.map((status) =>
    status?.shards.map((shard) => shard.appliedIndex).join(),
  );
  return applied.every((each) => each !== undefined && each === applied[0]);
}
