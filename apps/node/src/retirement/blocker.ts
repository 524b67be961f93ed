/** What keeps a DEK from being retired: each with what is in the way and what to do about it. */
import type { KeyState } from '@raftseal/interface';
import type { KeyNeeds, ShardNeeds } from './key-needs.ts';
import type { LogNeeds } from './log-needs.ts';

export type Blocker =
  /** New seals use it. */
  | { readonly kind: 'active'; readonly purpose: string }
  /** A registered backup was made with it. */
  | { readonly kind: 'backup'; readonly backupId: string }
  /** A member cannot be asked, or has not come far enough to give the DEK up. */
  | { readonly kind: 'member'; readonly nodeId: string; readonly reason: string }
  /** Entries of a log are sealed under it, the last of them at `throughIndex`. */
  | {
      readonly kind: 'entries';
      readonly shardId: number;
      readonly entries: number;
      readonly throughIndex: string;
    }
  /** Entries of the control log hold its wraps, the last of them at `throughIndex`. */
  | { readonly kind: 'wraps'; readonly entries: number; readonly throughIndex: string }
  /** Rows in the store of a member are sealed under it. */
  | {
      readonly kind: 'rows';
      readonly nodeId: string;
      readonly shardId: number;
      readonly rows: number;
    }
  /** A snapshot that may hold rows under it is on its way. */
  | { readonly kind: 'snapshot'; readonly nodeId: string; readonly shardId: number };

/** What a member answered, or why it did not. */
export type MemberAnswer = KeyNeeds | { readonly nodeId: string; readonly reason: string };

export interface Findings {
  readonly state: KeyState;
  readonly members: readonly MemberAnswer[];
  readonly logs: readonly LogNeeds[];
}

/** In the order in which an operator would clear them; none where the DEK can be retired. */
export function blockersOf({ state, members, logs }: Findings, dekId: number): Blocker[] {
  const purpose = state.keys.get(dekId)?.purpose;
  const blockers: Blocker[] = [];
  if (purpose !== undefined && state.activeDekId[purpose] === dekId) {
    blockers.push({ kind: 'active', purpose });
  }
  for (const [backupId, { dekIds }] of state.backups) {
    if (dekIds.includes(dekId)) blockers.push({ kind: 'backup', backupId });
  }
  for (const member of members) blockers.push(...memberBlockers(member));
  for (const { shardId, sealed, wraps } of logs) {
    if (sealed.count > 0) {
      const throughIndex = sealed.last.toString();
      blockers.push({ kind: 'entries', shardId, entries: sealed.count, throughIndex });
    }
    if (wraps.count > 0) {
      const throughIndex = wraps.last.toString();
      blockers.push({ kind: 'wraps', entries: wraps.count, throughIndex });
    }
  }
  return blockers;
}

function memberBlockers(answer: MemberAnswer): Blocker[] {
  const { nodeId } = answer;
  if ('reason' in answer) return [{ kind: 'member', nodeId, reason: answer.reason }];
  if (answer.dek === 'retired') return [];
  if (answer.dek !== 'older') {
    const reason = 'it has not applied the rotation that the DEK was replaced by';
    return [{ kind: 'member', nodeId, reason }];
  }
  return answer.shards.flatMap((shard) => shardBlockers(nodeId, shard));
}

/**
 * Members that took a snapshot over, or were started, between two questions: what they hold now is
 * not what they answered for.
 */
export function movedBetween(
  before: readonly MemberAnswer[],
  after: readonly MemberAnswer[],
): Blocker[] {
  return after.flatMap((member): Blocker[] => {
    const earlier = before.find(({ nodeId }) => nodeId === member.nodeId);
    if (earlier && marksOf(earlier) === marksOf(member)) return [];
    const reason = 'it was started, or took a snapshot over, while it was asked';
    return [{ kind: 'member', nodeId: member.nodeId, reason }];
  });
}

function marksOf(answer: MemberAnswer): string {
  if ('reason' in answer) return '';
  return [answer.processId, ...answer.shards.map(({ installs }) => installs)].join();
}

function shardBlockers(
  nodeId: string,
  { shardId, state, seals, rows, snapshots, installing }: ShardNeeds,
): Blocker[] {
  const blockers: Blocker[] = [];
  const member = (reason: string): Blocker => ({ kind: 'member', nodeId, reason });
  if (state === 'halted') blockers.push(member(`shard ${shardId} has halted there`));
  if (state === 'restoring' || installing)
    blockers.push(member(`shard ${shardId} is being restored there`));
  if (seals) blockers.push(member(`it seals shard ${shardId} under the DEK still`));
  if (rows > 0) blockers.push({ kind: 'rows', nodeId, shardId, rows });
  if (snapshots > 0) blockers.push({ kind: 'snapshot', nodeId, shardId });
  return blockers;
}

/** Whether time alone may clear it, and soon. */
export function isPassing({ kind }: Blocker): boolean {
  return kind === 'entries' || kind === 'wraps' || kind === 'snapshot';
}

/** One line: what is in the way, and what to do. */
export function textOf(blocker: Blocker): string {
  switch (blocker.kind) {
    case 'active':
      return `it is the active ${blocker.purpose} DEK: rotate it first`;
    case 'backup':
      return `backup ${blocker.backupId} needs it: \`raftseal backup forget\` it first`;
    case 'member':
      return `${blocker.nodeId}: ${blocker.reason}; bring the member back, or remove it`;
    case 'entries':
      return (
        `the log of shard ${blocker.shardId} holds ${blocker.entries} entries under it, through ` +
        `${blocker.throughIndex}: they are truncated once every member has them on disk`
      );
    case 'wraps':
      return (
        `the control log holds ${blocker.entries} entries with its wraps, through ` +
        `${blocker.throughIndex}: they are truncated once every member has them on disk`
      );
    case 'rows':
      return (
        `${blocker.nodeId} holds ${blocker.rows} rows of shard ${blocker.shardId} under it: they are ` +
        'rewritten in the background; `raftseal status` shows how far that is'
      );
    case 'snapshot':
      return `a snapshot of shard ${blocker.shardId} is being read from ${blocker.nodeId}: wait for it`;
  }
}
