/** What has to hold after a failover in the middle of a cutover; each finding names the invariant. */
import { TAG_CLEARTEXT, TAG_SEALED } from '@raftseal/shard-group';
import type { FailoverWorld } from './failover-world.ts';
import type { ListMachine } from './list-machine.ts';
import { isMarker } from './node-process.ts';

/** Refusals that promise that nothing was appended. */
const NOT_APPENDED: ReadonlySet<string> = new Set([
  'RAFTSEAL_SHARD_GROUP_NOT_LEADER',
  'RAFTSEAL_SHARD_GROUP_OVERLOADED',
  'RAFTSEAL_NODE_WRITER_NOT_REGISTERED',
]);

export function findings(world: FailoverWorld): string[] {
  return [
    ...world.notes,
    ...world.shardIds.flatMap((shardId) => [
      ...sealedAboveTheCutover(world, shardId),
      ...replicasAreEqual(world, shardId),
    ]),
    ...acknowledgedIsKept(world),
    ...noncesAreUsedOnce(world),
    ...nothingHalts(world),
    ...repliesAreLinearizable(world),
  ];
}

/** Judged by the log alone, then compared with what the nodes believe. */
function sealedAboveTheCutover({ cluster, processes }: FailoverWorld, shardId: number): string[] {
  const log = cluster.log(shardId);
  const cutoverIndex = log.find(({ payload }) => isMarker(payload))?.index;
  if (cutoverIndex === undefined) return [`invariant 1: shard ${shardId} was not cut over`];
  const wrong = log
    .filter(({ index, payload }) => {
      return payload[0] !== (index > cutoverIndex ? TAG_SEALED : TAG_CLEARTEXT);
    })
    .map(
      ({ index }) => `invariant 1: entry ${index} of shard ${shardId}, cut over at ${cutoverIndex}`,
    );
  const leaked = log
    .filter(({ index, payload }) => index > cutoverIndex && Buffer.from(payload).includes('canary'))
    .map(({ index }) => `invariant 10: entry ${index} of shard ${shardId} shows its content`);
  const beliefs = processes
    .filter(({ lifecycle }) => lifecycle.state.cutoverIndex.get(shardId) !== cutoverIndex)
    .map(({ nodeId }) => `invariant 9: ${nodeId} has another cutover of shard ${shardId}`);
  return [...wrong, ...leaked, ...beliefs];
}

function replicasAreEqual({ cluster, processes }: FailoverWorld, shardId: number): string[] {
  const headIndex = BigInt(cluster.log(shardId).length);
  const states = processes.map(({ groups, machines }) => {
    const lists = [...(machines.get(shardId)?.lists ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
    return `${groups.get(shardId)?.appliedIndex} ${JSON.stringify(lists)}`;
  });
  const behind = states.some((state) => !state.startsWith(`${headIndex} `));
  return [
    ...(new Set(states).size === 1 ? [] : [`invariant 9: replicas of shard ${shardId} differ`]),
    ...(behind ? [`invariant 9: a replica of shard ${shardId} lacks entries`] : []),
  ];
}

function acknowledgedIsKept({ operations, processes }: FailoverWorld): string[] {
  return processes.flatMap(({ nodeId, machines }) => {
    const places = placesOf([...machines.values()]);
    return operations.flatMap(({ value, reply }) => {
      const found = places.get(value) ?? [];
      if (typeof reply === 'number') {
        const kept = found.length === 1 && found[0] === reply;
        return kept ? [] : [`invariant 2: ${value} is at ${nodeId} ${found.length} times`];
      }
      const max = reply !== undefined && NOT_APPENDED.has(reply) ? 0 : 1;
      return found.length > max ? [`invariant 2: ${value} ended ${reply} and is at ${nodeId}`] : [];
    });
  });
}

/** Where each value stands in the list of its key. */
function placesOf(machines: readonly ListMachine[]): Map<string, number[]> {
  const places = new Map<string, number[]>();
  for (const list of machines.flatMap(({ lists }) => [...lists.values()])) {
    for (const [at, value] of list.entries()) {
      places.set(value, [...(places.get(value) ?? []), at]);
    }
  }
  return places;
}

function noncesAreUsedOnce({ nonces }: FailoverWorld): string[] {
  const repeated = nonces.length - new Set(nonces).size;
  return repeated === 0 ? [] : [`invariant 3: ${repeated} nonces were used twice`];
}

function nothingHalts({ processes }: FailoverWorld): string[] {
  return processes.flatMap(({ nodeId, halts }) =>
    halts.map(({ code, message }) => `invariant 6: ${nodeId} halted with ${code}: ${message}`),
  );
}

/**
 * An answer says how many writes came before. That order has to agree with the order of time: none
 * may have ended before one in front of it began.
 */
function repliesAreLinearizable({ operations }: FailoverWorld): string[] {
  const found: string[] = [];
  for (const key of new Set(operations.map((operation) => operation.key))) {
    const inOrder = operations
      .filter((operation) => operation.key === key && typeof operation.reply === 'number')
      .sort((one, other) => Number(one.reply) - Number(other.reply));
    let latestStart = 0;
    for (const { value, startedAt, endedAt = Number.POSITIVE_INFINITY } of inOrder) {
      if (endedAt < latestStart)
        found.push(`invariant 8: ${value} came after one that began later`);
      latestStart = Math.max(latestStart, startedAt);
    }
  }
  return found;
}
