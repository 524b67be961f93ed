/** What must hold of a cluster at rest, after its faults; see docs/architecture.md, Invariants. */
import { setTimeout as delay } from 'node:timers/promises';
import { checkLogs } from '../checks/log-check.ts';
import type { StoredEntry } from '../checks/log-entry.ts';
import type { LogRecorder } from '../checks/log-recorder.ts';
import type { SealLedger } from '../checks/seal-ledger.ts';
import { walkStores } from '../checks/store-walk.ts';
import type { NodeDigest, NodeStatus } from '../world/node-admin.ts';
import type { ClusterNode, World } from '../world/world.ts';

const CATCH_UP_MS = 10_000;
const TRIES_MAX = 10;
const TRY_PAUSE_MS = 500;

export interface RestingChecks {
  readonly world: World;
  readonly log: LogRecorder;
  readonly ledger: SealLedger;
}

/** Of the running nodes: states, replicas, what `verify` finds; and of the logs. */
export async function checkAtRest({ world, log, ledger }: RestingChecks): Promise<string[]> {
  const { digests, problems } = await compareReplicas(world, log);
  const statuses = await Promise.all(world.nodes.map(({ admin }) => admin.status()));
  problems.push(...checkStatuses(world.nodes, statuses), ...checkDigests(world.nodes, digests));
  const cutoverIndexOf = (shardId: number): bigint | undefined => {
    const found = statuses[0]?.shards[shardId]?.cutoverIndex;
    return found === null || found === undefined ? undefined : BigInt(found);
  };
  problems.push(...checkLogs({ logs: log.logs, cutoverIndexOf, ledger }));
  for (const node of world.nodes) problems.push(...(await verify(node)));
  return problems;
}

/**
 * The digests of all nodes, and what is wrong about how far they have come. Now and then a node
 * still has something to say about keys: then it is asked again.
 */
async function compareReplicas(
  world: World,
  log: LogRecorder,
): Promise<{ readonly digests: readonly NodeDigest[]; readonly problems: string[] }> {
  for (let tries = 1; ; tries++) {
    await log.catchUp(CATCH_UP_MS);
    const digests = await Promise.all(world.nodes.map(({ admin }) => admin.digest()));
    const problems = checkHeads(log.logs, world.nodes, digests);
    if (problems.length === 0 || tries === TRIES_MAX) return { digests, problems };
    await delay(TRY_PAUSE_MS);
  }
}

async function verify({ admin, process }: ClusterNode): Promise<readonly string[]> {
  try {
    const { problems } = await admin.verify();
    return problems.map((problem) => `verify on ${process.name}: ${problem}`);
  } catch (error) {
    return [`verify on ${process.name}: ${String(error)}`];
  }
}

/** Of the data directories, once the nodes have stopped. */
export async function checkStopped(
  world: World,
  shardCount: number,
  ledger: SealLedger,
): Promise<string[]> {
  for (const { process, dataPath } of world.nodes) {
    await walkStores({ nodeName: process.name, dataPath, shardCount, ledger });
  }
  return [...ledger.problems];
}

function checkStatuses(
  nodes: readonly ClusterNode[],
  statuses: readonly NodeStatus[],
): readonly string[] {
  const problems: string[] = [];
  const cutovers = new Map<number, string | null>();
  for (const [at, status] of statuses.entries()) {
    const name = nodes[at]?.process.name ?? '';
    if (status.encryption !== 'sealed') problems.push(`${name}: encryption ${status.encryption}`);
    for (const { shardId, haltCode, cutoverIndex } of status.shards) {
      if (haltCode !== null) problems.push(`${name}: shard ${shardId} has halted: ${haltCode}`);
      const known = cutovers.get(shardId);
      if (known !== undefined && known !== cutoverIndex) {
        problems.push(`${name}: shard ${shardId} was cut over at ${cutoverIndex}, not ${known}`);
      }
      cutovers.set(shardId, cutoverIndex);
    }
  }
  return problems;
}

/** Invariant 9: every replica reaches the same plaintext state at the same index. */
function checkDigests(
  nodes: readonly ClusterNode[],
  digests: readonly NodeDigest[],
): readonly string[] {
  const [first = {}] = digests;
  return digests.flatMap((digest, at) =>
    Object.keys({ ...first, ...digest }).flatMap((shardId) => {
      const [own, other] = [digest[shardId], first[shardId]];
      if (own?.index === other?.index && own?.digest === other?.digest) return [];
      const name = nodes[at]?.process.name;
      return [`shard ${shardId} differs on ${name}: ${text(own)}, not ${text(other)}`];
    }),
  );
}

function text(digest: NodeDigest[string] | undefined): string {
  return digest === undefined ? 'nothing' : `${digest.digest} at index ${digest.index}`;
}

/** The nodes have applied the log as it stands in etcd, to its end. */
function checkHeads(
  logs: ReadonlyMap<number, readonly StoredEntry[]>,
  nodes: readonly ClusterNode[],
  digests: readonly NodeDigest[],
): string[] {
  return digests.flatMap((digest, at) =>
    Object.entries(digest).flatMap(([shardId, { index }]) => {
      const head = logs.get(Number(shardId))?.at(-1)?.index ?? 0n;
      if (`${head}` === index) return [];
      const name = nodes[at]?.process.name;
      return [`log of shard ${shardId} ends at ${head}, and ${name} has applied up to ${index}`];
    }),
  );
}
