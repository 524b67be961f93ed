/**
 * Retires a DEK: finds out whether anything needs it still, and if nothing does, has every replica
 * forget it. Runs at the leader of the control shard.
 *
 * Why nothing can come to need it between the question and the entry: every member seals under a
 * newer DEK when it is asked, and never goes back; each log has an entry of its leader from after
 * that, so no append from before is under way; no store holds a row under it, so no snapshot that
 * begins later does, and none from before is being read; nobody is admitted meanwhile. Members are
 * asked one after the other, so a snapshot could pass from one that is asked late to one that was
 * asked early: hence they are asked twice, and must have taken nothing over in between.
 */
import { CONTROL_SHARD, codeOf, type KeyState, RaftsealError } from '@raftseal/interface';
import type { KeyOperations } from '../key-operations.ts';
import type { NodeKeys } from '../node-keys.ts';
import type { NodeLogs } from '../node-logs.ts';
import type { NodeShard } from '../node-shard.ts';
import {
  type Blocker,
  blockersOf,
  type Findings,
  isPassing,
  type MemberAnswer,
  movedBetween,
  textOf,
} from './blocker.ts';
import { type KeyNeeds, keyNeeds } from './key-needs.ts';
import { type LogNeeds, logNeeds } from './log-needs.ts';
import { turnOverLogs } from './turn-over.ts';

/** The other nodes of the cluster. */
export interface OtherMembers {
  /** As the cluster's record has them now, not as this node last saw them. */
  ids(): Promise<readonly string[]>;
  /** @throws a coded error where the node cannot be asked */
  keyNeeds(nodeId: string, dekId: number): Promise<KeyNeeds>;
  /** Ids of the shards whose logs it has turned over. @throws as `keyNeeds` */
  turnOverLogs(nodeId: string): Promise<readonly number[]>;
}

export interface RetirementParts {
  readonly keys: NodeKeys;
  readonly shards: readonly NodeShard[];
  readonly logs: NodeLogs;
  readonly operations: KeyOperations;
  /** Undefined: this node is alone. */
  readonly others: OtherMembers | undefined;
}

/** Evidence that a DEK is gone: what every member and every log said when it was made. */
export interface RetirementReceipt {
  readonly format: 'raftseal retirement receipt 1';
  /** Hex. */
  readonly clusterId: string;
  readonly dekId: number;
  readonly purpose: string;
  /** Index of the entry in the control log. */
  readonly controlIndex: string;
  readonly madeAt: string;
  readonly madeBy: string;
  /** Every member, and how many rows under the DEK its stores hold: none. */
  readonly members: readonly { readonly nodeId: string; readonly rows: 0 }[];
  /** Every log from its first entry to its last: none is sealed under the DEK, none holds its wraps. */
  readonly logs: readonly {
    readonly shardId: number;
    readonly firstIndex: string;
    readonly headIndex: string;
  }[];
}

/** How long a request waits for logs to be truncated. */
const PATIENCE_MS = 10_000;
const POLL_MS = 250;

export class Retirement {
  readonly #parts: RetirementParts;

  constructor(parts: RetirementParts) {
    this.#parts = parts;
  }

  /** What keeps a DEK from being retired now. Changes nothing. @throws RAFTSEAL_NODE_BAD_REQUEST */
  async blockers(dekId: number): Promise<readonly Blocker[]> {
    this.#checkKnown(dekId);
    return blockersOf(await this.#findings(dekId), dekId);
  }

  /**
   * Idempotent: for a DEK that is retired, a new receipt.
   * @throws RAFTSEAL_NODE_DEK_NEEDED, which names every blocker; nothing was retired
   */
  async retire(dekId: number): Promise<RetirementReceipt> {
    this.#checkKnown(dekId);
    if (!this.#state.retired.has(dekId)) await this.#prepare(dekId);
    if (!this.#state.retired.has(dekId)) {
      await this.#parts.operations.retire(dekId, () => this.#check(dekId));
    }
    return this.#receipt(dekId);
  }

  get #state(): KeyState {
    return this.#parts.keys.state;
  }

  /** What can be done about blockers without the operator, while other operations go on. */
  async #prepare(dekId: number): Promise<void> {
    if (blockersOf(this.#stateOnly, dekId).length > 0) return;
    await this.#turnOver();
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const blockers = await this.blockers(dekId);
      const worthWaiting = blockers.length > 0 && blockers.every(isPassing);
      if (!worthWaiting || performance.now() >= deadline) return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Asks everybody once more: nothing may change from here to the entry. */
  async #check(dekId: number): Promise<void> {
    const stated = blockersOf(this.#stateOnly, dekId);
    if (stated.length > 0) throw blocked(dekId, stated);
    const turned = await this.#turnOver();
    const unled = this.#parts.shards.filter(({ shardId }) => !turned.has(shardId));
    if (unled.length > 0) throw notTurnedOver(dekId, unled);
    const before = await this.#ask(dekId);
    const findings = await this.#findings(dekId);
    const blockers = [
      ...blockersOf({ ...this.#stateOnly, members: before }, dekId),
      ...blockersOf(findings, dekId),
      ...movedBetween(before, findings.members),
    ];
    if (blockers.length > 0) throw blocked(dekId, blockers);
  }

  get #stateOnly(): Findings {
    return { state: this.#state, members: [], logs: [] };
  }

  async #findings(dekId: number): Promise<Findings> {
    const members = await this.#ask(dekId);
    const logs: LogNeeds[] = [];
    for (const { shardId } of this.#parts.shards) logs.push(await this.#logNeeds(shardId, dekId));
    return { state: this.#state, members, logs };
  }

  async #ask(dekId: number): Promise<readonly MemberAnswer[]> {
    const { others, keys } = this.#parts;
    const ids = (await others?.ids()) ?? [];
    const answerOf = (nodeId: string, asked: Promise<KeyNeeds>): Promise<MemberAnswer> =>
      asked.catch((error: unknown) => ({ nodeId, reason: reasonOf(error) }));
    return Promise.all([
      answerOf(keys.nodeId, keyNeeds(this.#parts, dekId)),
      ...ids.map((id) => answerOf(id, (others as OtherMembers).keyNeeds(id, dekId))),
    ]);
  }

  #logNeeds(shardId: number, dekId: number): Promise<LogNeeds> {
    const { logs, keys } = this.#parts;
    const open = (envelope: Uint8Array, index: bigint): Uint8Array =>
      keys.raftSeal.open({ shardId, index }, envelope);
    return logNeeds({ shardId, engine: logs.engine(shardId), open }, dekId);
  }

  /** Ids of the shards whose leaders did it. */
  async #turnOver(): Promise<ReadonlySet<number>> {
    const { others } = this.#parts;
    const ids = (await others?.ids()) ?? [];
    const turned = await Promise.all([
      turnOverLogs(this.#parts),
      ...ids.map((nodeId) => others?.turnOverLogs(nodeId).catch(() => []) ?? []),
    ]);
    return new Set(turned.flat());
  }

  /** @throws RAFTSEAL_NODE_DEK_NEEDED where something needs the DEK, or a member has it still */
  async #receipt(dekId: number): Promise<RetirementReceipt> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const findings = await this.#findings(dekId);
      const left = [...blockersOf(findings, dekId), ...notRetired(findings.members)];
      if (left.length === 0) return this.#receiptOf(dekId, findings);
      if (performance.now() >= deadline) throw notGone(dekId, left);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  #receiptOf(dekId: number, { state, members, logs }: Findings): RetirementReceipt {
    const { purpose, controlIndex } = state.retired.get(dekId) ?? { purpose: '', controlIndex: 0n };
    return {
      format: 'raftseal retirement receipt 1',
      clusterId: Buffer.from(state.clusterId ?? []).toString('hex'),
      dekId,
      purpose,
      controlIndex: controlIndex.toString(),
      madeAt: new Date().toISOString(),
      madeBy: this.#parts.keys.nodeId,
      members: members.map(({ nodeId }) => ({ nodeId, rows: 0 })),
      logs: logs.map(({ shardId, firstIndex, headIndex }) => ({
        shardId,
        firstIndex: firstIndex.toString(),
        headIndex: headIndex.toString(),
      })),
    };
  }

  #checkKnown(dekId: number): void {
    const { keys, retired } = this.#state;
    if (keys.has(dekId) || retired.has(dekId)) return;
    throw new RaftsealError(
      'RAFTSEAL_NODE_BAD_REQUEST',
      `expected the id of a DEK of this cluster, found ${dekId}: \`raftseal status\` lists them`,
    );
  }
}

/** Rows under a retired DEK count as well: nobody could open them. */
function notRetired(members: readonly MemberAnswer[]): Blocker[] {
  return members.flatMap((member): Blocker[] => {
    if ('reason' in member) return [];
    const { nodeId, dek, shards } = member;
    const rows = shards.filter((shard) => shard.rows > 0);
    const left = rows.map(({ shardId, rows: count }): Blocker => {
      return { kind: 'rows', nodeId, shardId, rows: count };
    });
    if (dek === 'retired') return left;
    return [...left, { kind: 'member', nodeId, reason: 'it has not applied the retirement' }];
  });
}

function reasonOf(error: unknown): string {
  const code = codeOf(error);
  if (code === undefined) throw error;
  return `it cannot be asked (${code})`;
}

function listed(blockers: readonly Blocker[]): string {
  return blockers.map((blocker) => `\n- ${textOf(blocker)}`).join('');
}

function blocked(dekId: number, blockers: readonly Blocker[]): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_DEK_NEEDED',
    `DEK ${dekId} was not retired, for it is needed:${listed(blockers)}`,
  );
}

function notTurnedOver(dekId: number, shards: readonly NodeShard[]): RaftsealError {
  const ids = shards.map(({ shardId }) => (shardId === CONTROL_SHARD ? 'control' : shardId));
  return new RaftsealError(
    'RAFTSEAL_NODE_DEK_NEEDED',
    `DEK ${dekId} was not retired: the leaders of shards ${ids.join(', ')} could not be asked to ` +
      'leave off writing under it; ask again when every shard has a leader',
  );
}

function notGone(dekId: number, blockers: readonly Blocker[]): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_DEK_NEEDED',
    `DEK ${dekId} is retired, and there is no receipt yet:${listed(blockers)}\nAsk again for it.`,
  );
}
