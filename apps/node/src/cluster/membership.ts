/**
 * Who belongs to the cluster. The leader of the control shard takes nodes in and lets them go, one
 * change at a time and never beside an enabling of encryption; each change is one transaction in
 * etcd, which fails where the leader is none any more or another change came between.
 */
import { randomBytes } from 'node:crypto';
import { CONTROL_SHARD, RaftsealError } from '@raftseal/interface';
import type { Change, Condition, Document, EtcdDocuments } from '@raftseal/raft-engine-etcd';
import { FORMAT_VERSION } from '../data-directory.ts';
import {
  CLUSTER_DOCUMENT,
  type ClusterRecord,
  decodeMember,
  decodeRecord,
  encodeMember,
  encodeRecord,
  MEMBERS,
  REMOVED,
  type Role,
} from './cluster-record.ts';

interface FoundRecord {
  readonly record: ClusterRecord;
  readonly revision: bigint;
}

export class Membership {
  readonly #documents: EtcdDocuments;

  constructor(documents: EtcdDocuments) {
    this.#documents = documents;
  }

  /**
   * The record of the cluster; made where there is none.
   * @param expectedName of the cluster that this node is of; undefined for a new node
   * @throws RAFTSEAL_NODE_CLUSTER_FORMAT, RAFTSEAL_NODE_FOREIGN_CLUSTER, RAFTSEAL_NODE_SHARD_COUNT
   */
  async open(expectedName: string | undefined, shardCount: number): Promise<ClusterRecord> {
    const found = await this.#findRecord();
    if (found === undefined && expectedName === undefined) return this.#makeRecord(shardCount);
    const record = found?.record;
    if (record === undefined || (expectedName !== undefined && record.name !== expectedName)) {
      throw foreign(expectedName, record?.name);
    }
    if (record.shardCount !== shardCount) throw otherShardCount(record.shardCount, shardCount);
    return record;
  }

  /** Undefined where the node is no member. @throws RAFTSEAL_NODE_REMOVED */
  async roleOf(nodeId: string): Promise<Role | undefined> {
    if (await this.#documents.get(`${REMOVED}${nodeId}`)) throw removed(nodeId);
    const member = await this.#documents.get(`${MEMBERS}${nodeId}`);
    return member && decodeMember(member.value);
  }

  /** Ids of all members, as they are now. */
  async ids(): Promise<readonly string[]> {
    const members = await this.#documents.list(MEMBERS);
    return members.map(({ name }) => name.slice(MEMBERS.length));
  }

  /** Makes the first node of a cluster a member; false where there are members already. */
  async beFirst(nodeId: string): Promise<boolean> {
    const { record, revision } = await this.#record();
    if ((await this.#documents.list(MEMBERS)).length > 0) return false;
    return this.#write(
      record,
      [{ name: CLUSTER_DOCUMENT, revision }],
      [{ put: `${MEMBERS}${nodeId}`, value: encodeMember('voter') }],
    );
  }

  /** @param term of the leader of the control shard, which decided. @throws RAFTSEAL_NODE_REMOVED */
  async admit(nodeId: string, role: Role, term: bigint): Promise<void> {
    const known = await this.roleOf(nodeId);
    if (known === role || known === 'voter') return;
    await this.#change(term, [{ put: `${MEMBERS}${nodeId}`, value: encodeMember(role) }]);
  }

  /** @throws RAFTSEAL_NODE_UNKNOWN_MEMBER, RAFTSEAL_NODE_LAST_VOTER */
  async remove(nodeId: string, term: bigint): Promise<void> {
    if (await this.#documents.get(`${REMOVED}${nodeId}`)) return;
    const members = await this.#documents.list(MEMBERS);
    if (!members.some(({ name }) => name === `${MEMBERS}${nodeId}`)) throw unknownMember(nodeId);
    const isOtherVoter = ({ name, value }: Document): boolean =>
      name !== `${MEMBERS}${nodeId}` && decodeMember(value) === 'voter';
    if (!members.some(isOtherVoter)) throw lastVoter(nodeId);
    await this.#change(term, [
      { remove: `${MEMBERS}${nodeId}` },
      { put: `${REMOVED}${nodeId}`, value: new Uint8Array(0) },
    ]);
  }

  /** @throws RAFTSEAL_NODE_UNKNOWN_MEMBER */
  async promote(nodeId: string, term: bigint): Promise<void> {
    const role = await this.roleOf(nodeId);
    if (role === undefined) throw unknownMember(nodeId);
    if (role === 'voter') return;
    await this.#change(term, [{ put: `${MEMBERS}${nodeId}`, value: encodeMember('voter') }]);
  }

  async #makeRecord(shardCount: number): Promise<ClusterRecord> {
    if ((await this.#documents.list(MEMBERS)).length > 0) throw recordGone();
    const name = randomBytes(16).toString('hex');
    const record = { name, formatVersion: FORMAT_VERSION, shardCount };
    const condition = { absent: CLUSTER_DOCUMENT };
    if (await this.#write(record, [condition], [])) return record;
    // Another node was faster: then this is its cluster.
    return this.open(undefined, shardCount);
  }

  async #change(term: bigint, changes: readonly Change[]): Promise<void> {
    const { record, revision } = await this.#record();
    const conditions = [
      { name: CLUSTER_DOCUMENT, revision },
      { leads: CONTROL_SHARD, term },
    ];
    if (await this.#write(record, conditions, changes)) return;
    throw new RaftsealError(
      'RAFTSEAL_NODE_NOT_CONTROL_LEADER',
      'the control shard has another leader, or the membership changed meanwhile: ask again',
    );
  }

  #write(
    record: ClusterRecord,
    conditions: readonly Condition[],
    changes: readonly Change[],
  ): Promise<boolean> {
    const rewritten: Change = { put: CLUSTER_DOCUMENT, value: encodeRecord(record) };
    return this.#documents.write([rewritten, ...changes], conditions);
  }

  async #record(): Promise<FoundRecord> {
    const found = await this.#findRecord();
    if (found) return found;
    throw foreign(undefined, undefined);
  }

  async #findRecord(): Promise<FoundRecord | undefined> {
    const document = await this.#documents.get(CLUSTER_DOCUMENT);
    return document && { record: decodeRecord(document), revision: document.revision };
  }
}

function foreign(expected: string | undefined, found: string | undefined): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_FOREIGN_CLUSTER',
    `expected cluster ${expected ?? '(any)'} under the etcd prefix; found ${found ?? 'none'}: ` +
      'check --etcd and --etcd-prefix, or give the node a new data directory; nothing was changed',
  );
}

/** The members know the name of their cluster: a new record would be of another one. */
function recordGone(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_CLUSTER_FORMAT',
    'expected the record of a cluster under the etcd prefix, or nothing; found members without ' +
      'it, so somebody has deleted it: restore etcd from a good copy, or use another prefix',
  );
}

export function otherShardCount(found: number, asked: number): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_SHARD_COUNT',
    `the cluster has ${found} shards and this node was to have ${asked}: start it with ` +
      `--shards ${found}, or without --shards, on a new data directory`,
  );
}

function removed(nodeId: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_REMOVED',
    `${nodeId} was removed from the cluster and may not come back: to add this machine again, ` +
      'start it on a new data directory',
  );
}

function unknownMember(nodeId: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_UNKNOWN_MEMBER',
    `the cluster has no member ${nodeId}: \`raftseal member list\` names them`,
  );
}

function lastVoter(nodeId: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_LAST_VOTER',
    `${nodeId} is the only voter: without it nobody could lead a shard; add another voter first`,
  );
}

export function notInReach(nodeId: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_UNKNOWN_MEMBER',
    `${nodeId} is not in reach, or no voter: \`raftseal member list\` says who is`,
  );
}
