/** What has to hold at the end of every schedule; each finding names the invariant. */
import { TAG_CLEARTEXT, TAG_SEALED } from '../src/index.ts';
import type { Operation, ScheduleWorld } from './schedule-world.ts';
import { isMarker } from './schedule-world.ts';

/** Refusals that promise that nothing was appended. */
const NOT_APPENDED: ReadonlySet<string> = new Set([
  'RAFTSEAL_SHARD_GROUP_NOT_LEADER',
  'RAFTSEAL_SHARD_GROUP_OVERLOADED',
  'RAFTSEAL_SHARD_GROUP_STOPPED',
]);

export function findings(world: ScheduleWorld): string[] {
  return [
    ...sealedAboveTheCutover(world),
    ...acknowledgedIsKept(world),
    ...noncesAreUsedOnce(world),
    ...nothingHalts(world),
    ...repliesAreLinearizable(world),
    ...replicasAreEqual(world),
    ...timeDoesNotGoBack(world),
  ];
}

function sealedAboveTheCutover({ log }: ScheduleWorld): string[] {
  const cutoverIndex = log.find(isMarker)?.index;
  if (cutoverIndex === undefined) return ['invariant 1: the log was never cut over'];
  return log
    .filter(({ index, payload }) => {
      return payload[0] !== (index > cutoverIndex ? TAG_SEALED : TAG_CLEARTEXT);
    })
    .map(({ index, payload }) => {
      return `invariant 1: entry ${index} has tag ${payload[0]}, the cutover is at ${cutoverIndex}`;
    });
}

function acknowledgedIsKept({ operations, replicas }: ScheduleWorld): string[] {
  return replicas.flatMap(({ nodeId, machine }) =>
    operations.flatMap(({ key, value, reply }) => {
      const list = machine.lists.get(key) ?? [];
      const times = list.filter((kept) => kept === value).length;
      const where = `${key}=${value} at ${nodeId}`;
      if (typeof reply === 'object') {
        const kept = times === 1 && list[reply.position] === value;
        return kept ? [] : [`invariant 2: ${where} was acknowledged and is there ${times} times`];
      }
      const max = reply !== undefined && NOT_APPENDED.has(reply) ? 0 : 1;
      return times > max
        ? [`invariant 2: ${where} ended ${reply} and is there ${times} times`]
        : [];
    }),
  );
}

function noncesAreUsedOnce({ nonces }: ScheduleWorld): string[] {
  const repeated = nonces.filter((nonce, at) => nonces.indexOf(nonce) !== at);
  return repeated.map((nonce) => `invariant 3: nonce ${nonce} was used twice`);
}

function nothingHalts({ halts }: ScheduleWorld): string[] {
  return halts
    .filter(({ code }) => code !== 'RAFTSEAL_ENGINE_CLOSED')
    .map(({ code, message }) => `invariant 6: a replica halted with ${code}: ${message}`);
}

/**
 * An answer says how many writes came before, so the answers are an order; it has to agree with
 * the order of writes that did not overlap.
 */
function repliesAreLinearizable({ operations }: ScheduleWorld): string[] {
  const done = operations.filter(({ reply }) => typeof reply === 'object');
  return done.flatMap((later) =>
    done
      .filter((earlier) => earlier.key === later.key && endedBefore(earlier, later))
      .filter((earlier) => positionOf(earlier) >= positionOf(later))
      .map(
        (earlier) => `invariant 8: ${later.value} came before ${earlier.value}, and began after`,
      ),
  );
}

function endedBefore(earlier: Operation, later: Operation): boolean {
  return earlier.endedAt !== undefined && earlier.endedAt < later.startedAt;
}

function positionOf({ reply }: Operation): number {
  return typeof reply === 'object' ? reply.position : Number.NaN;
}

function replicasAreEqual({ replicas, log }: ScheduleWorld): string[] {
  const states = replicas.map(({ lists, group }) => {
    const sorted = Object.entries(lists).sort(([one], [other]) => (one < other ? -1 : 1));
    return `${group.appliedIndex} ${JSON.stringify(sorted)}`;
  });
  const findings = new Set(states).size === 1 ? [] : [`invariant 9: ${states.join(' / ')}`];
  if (replicas.some(({ group }) => group.appliedIndex !== BigInt(log.length))) {
    findings.push('invariant 9: a replica has not applied the whole log');
  }
  return findings;
}

/** A process knows the time of the entries that it has applied or replayed, and of no other. */
function timeDoesNotGoBack({ replicas, hasFlushed }: ScheduleWorld): string[] {
  if (hasFlushed) return [];
  return replicas.flatMap(({ nodeId, machine }) =>
    machine.batches
      .filter(({ timestampMs }, at) => timestampMs < (machine.batches[at - 1]?.timestampMs ?? 0))
      .map(({ index }) => `time went back at entry ${index} of ${nodeId}`),
  );
}
