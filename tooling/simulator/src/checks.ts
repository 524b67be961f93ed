/** What has to hold at the end of every run; each finding begins with the invariant it is against. */
import { decodeEntry } from '@raftseal/applier';
import type { KeyState, LogEntry } from '@raftseal/interface';
import {
  describeOperation,
  linearize,
  type Operation,
  partitionByTag,
} from '@raftseal/rigs/linearizability';
import { KIND_KEY_LIFECYCLE, TAG_BYTES, TAG_CLEARTEXT, TAG_SEALED } from '@raftseal/shard-group';
import { nodeIds, type ShardId, shardIds } from './schedule.ts';
import type { World } from './world.ts';

/** No clock decides: the same run has the same verdict. */
const SEARCH_LIMITS = { statesMax: 200_000, timeMsMax: Number.POSITIVE_INFINITY };

export interface Findings {
  readonly findings: readonly string[];
  /** Histories for which the search for a linearization was given up. */
  readonly undecided: number;
}

export function check(world: World): Findings {
  // A run that was ended for what was found has no end to look at.
  const isWhole = world.findings.length === 0;
  const linearizability = isWhole ? historyFindings(world) : { findings: [], undecided: 0 };
  const findings = [
    ...world.findings,
    ...shardIds.flatMap((shardId) => sealedAboveTheCutover(world, shardId)),
    ...noncesAreUsedOnce(world),
    ...(isWhole ? [...acknowledgedIsKept(world), ...replicasAreEqual(world)] : []),
    ...linearizability.findings,
  ];
  return { findings, undecided: linearizability.undecided };
}

/** By the log alone: the first marker that is obeyed is the only line between the two. */
function sealedAboveTheCutover(world: World, shardId: ShardId): string[] {
  const log = world.log(shardId);
  const recorded = new Set(world.keyStates.map(({ cutoverIndex }) => cutoverIndex.get(shardId)));
  const cutovers = [...recorded].filter((index) => index !== undefined);
  const [cutoverIndex] = cutovers;
  if (cutovers.length > 1) {
    return [`invariant 1: shard ${shardId} is cut over at ${cutovers.join(' and at ')}`];
  }
  const findings = log
    .filter(({ index, payload }) => {
      const isAbove = cutoverIndex !== undefined && index > cutoverIndex;
      return payload[0] !== (isAbove ? TAG_SEALED : TAG_CLEARTEXT);
    })
    // Without a cutover anywhere that is known, what is sealed says that there was one.
    .filter(({ payload }) => cutoverIndex !== undefined || payload[0] !== TAG_SEALED)
    .map(
      ({ index, payload }) =>
        `invariant 1: entry ${index} of shard ${shardId} has tag ${payload[0]}, the cutover is ` +
        `at ${cutoverIndex}`,
    );
  const marker = cutoverIndex && log[Number(cutoverIndex - 1n)];
  if (marker && !isMarker(marker)) {
    findings.push(`invariant 1: entry ${cutoverIndex} of shard ${shardId} is no marker`);
  }
  return findings;
}

function isMarker({ payload }: LogEntry): boolean {
  if (payload[0] !== TAG_CLEARTEXT || payload[TAG_BYTES] !== KIND_KEY_LIFECYCLE) return false;
  return decodeEntry(payload.subarray(TAG_BYTES + 1)).kind === 'enable-raft';
}

function noncesAreUsedOnce({ seals }: World): string[] {
  return seals.repeated.map((nonce) => `invariant 3: nonce ${nonce} was used twice`);
}

/** Each piece that was appended is unique, and nothing else writes there. */
function acknowledgedIsKept({ clients }: World): string[] {
  return shardIds.flatMap((shardId) => {
    const key = clients.keysOf(shardId).find((name) => name.endsWith('l'));
    const readings = clients.operations.filter(({ commands: [command] }) => {
      return command?.[0] === 'GET' && command[1] === key;
    });
    const text = readings.at(-1)?.replies?.[0] ?? '';
    const kept = typeof text === 'string' ? text.split(',') : [];
    return clients.operations.flatMap(({ commands, replies }) => {
      const append = commands.find(([name, at]) => name === 'APPEND' && at === key);
      const piece = append?.[2]?.slice(0, -1);
      if (piece === undefined) return [];
      const times = kept.filter((found) => found === piece).length;
      const isRight = times === 1 || (times === 0 && replies === undefined);
      return isRight
        ? []
        : [
            `invariant 2: ${piece} of ${key} was ${replies ? 'acknowledged' : 'not answered'} and ` +
              `is there ${times} times`,
          ];
    });
  });
}

function historyFindings({ clients }: World): Findings {
  const findings: string[] = [];
  let undecided = 0;
  for (const [tag, history] of partitionByTag(clients.operations)) {
    const verdict = linearize(history, SEARCH_LIMITS);
    if (verdict.verdict === 'undecided') undecided++;
    if (verdict.verdict !== 'violation') continue;
    const { blocked } = verdict;
    findings.push(
      `invariant 8: no order of the ${history.length} operations on ${tag} explains ` +
        `${describeOperation(blocked)}; after ${describeLast(verdict.longest)}`,
    );
  }
  return { findings, undecided };
}

function describeLast(longest: readonly Operation[]): string {
  const last = longest.at(-1);
  return last ? describeOperation(last) : 'nothing';
}

function replicasAreEqual({ digests, keyStates }: World): string[] {
  const findings = shardIds.flatMap((shardId) => {
    const own = digests.filter((digest) => digest.startsWith(`shard ${shardId}:`));
    if (own.length === nodeIds.length && new Set(own).size === 1) return [];
    return [`invariant 9: replicas differ: ${own.join(' / ')}`];
  });
  const [first, ...others] = keyStates.map(sharedFields);
  for (const other of others) {
    for (const [field, text] of other) {
      if (first?.get(field) === text) continue;
      const found = [first?.get(field), text].map((each) => each?.slice(0, 300)).join(' / ');
      findings.push(`invariant 9: key states differ in ${field}: ${found}`);
    }
  }
  return findings;
}

/** The part of a key state that all replicas agree on, by field. */
function sharedFields(state: KeyState): ReadonlyMap<string, string> {
  const { nodeId: _, generation: __, keys, ...shared } = state;
  const replicated = [...keys].map(([dekId, { nonceEpoch: ___, ...key }]) => [dekId, key] as const);
  const fields = Object.entries({ ...shared, keys: new Map(replicated) });
  return new Map(fields.map(([field, value]) => [field, textOf(value)]));
}

/** The same text for the same value, in whatever order maps and fields were filled. */
function textOf(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (value instanceof Map || value instanceof Set) {
    return `[${[...value].map(textOf).toSorted().join(', ')}]`;
  }
  if (Array.isArray(value)) return `[${value.map(textOf).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  const fields = Object.entries(value).map(([name, field]) => `${name}: ${textOf(field)}`);
  return `{${fields.toSorted().join(', ')}}`;
}
