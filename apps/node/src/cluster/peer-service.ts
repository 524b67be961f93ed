/** What this node does for the others of its cluster when they call. */
import { CONTROL_SHARD, RaftsealError } from '@raftseal/interface';
import { FORMAT_VERSION } from '../data-directory.ts';
import type { KeyOperations } from '../key-operations.ts';
import type { NodeKeys } from '../node-keys.ts';
import type { NodeLogs } from '../node-logs.ts';
import type { NodeShard } from '../node-shard.ts';
import type { NonceEvidence } from '../nonces/evidence.ts';
import type { AuditMember } from '../nonces/nonce-audit.ts';
import type { NoncePart } from '../nonces/nonce-record.ts';
import { runningMember } from '../nonces/running-member.ts';
import type {
  CapabilityChallenge,
  CapabilityProof,
  JoinReply,
  JoinRequest,
  NonceRecordStream,
  PeerIdentity,
  PeerOperations,
  PeerSnapshot,
  RegistrationRequest,
} from '../peer/operations.ts';
import { type KeyNeeds, keyNeeds } from '../retirement/key-needs.ts';
import { turnOverLogs } from '../retirement/turn-over.ts';
import { version } from '../version.ts';
import { checkCapability, proveCapability } from './capability.ts';
import type { ClusterView } from './cluster-view.ts';
import type { ControlChannel } from './control-channel.ts';
import { type Membership, otherShardCount } from './membership.ts';
import type { SnapshotExchange } from './snapshot-exchange.ts';

export interface PeerServiceParts {
  readonly keys: NodeKeys;
  readonly shards: readonly NodeShard[];
  readonly operations: KeyOperations;
  readonly membership: Membership;
  readonly view: ClusterView;
  readonly control: ControlChannel;
  readonly snapshots: SnapshotExchange;
  readonly logs: NodeLogs;
  /** A backup is brought in: until all of it is there, nobody else may lead or serve. */
  readonly isRestoring: boolean;
  /** Puts a challenge to the node that is reached at an address. */
  readonly challenge: (
    address: JoinRequest['peer'],
    challenge: CapabilityChallenge,
  ) => Promise<CapabilityProof>;
}

export class PeerService implements PeerOperations {
  readonly #parts: PeerServiceParts;

  constructor(parts: PeerServiceParts) {
    this.#parts = parts;
  }

  identity(): PeerIdentity {
    const { keys, shards } = this.#parts;
    const { clusterId } = keys.state;
    return {
      nodeId: keys.nodeId,
      formatVersion: FORMAT_VERSION,
      release: version,
      clusterId: clusterId ? Buffer.from(clusterId).toString('hex') : null,
      shardCount: shards.length,
    };
  }

  /**
   * Takes a node in. Its KEK is tried first: what it cannot open it could neither follow nor lead.
   * The question goes to the address that the node gives, so a wrong one is noticed too.
   */
  join({ identity, role, peer }: JoinRequest): Promise<JoinReply> {
    const { control, operations, keys, membership, view } = this.#parts;
    control.checkLeads();
    if (this.#parts.isRestoring) throw restoring();
    this.#checkIdentity(identity);
    return operations.exclusively(async () => {
      const { nodeId } = identity;
      const { keks } = keys;
      if (!keks.isEmpty) {
        await checkCapability(nodeId, keks, (challenge) => this.#parts.challenge(peer, challenge));
      }
      await membership.admit(nodeId, role, this.#controlTerm());
      const { clusterId } = this.identity();
      const members = [...new Set([...view.members.keys(), nodeId])];
      return { clusterId, shardCount: this.#parts.shards.length, members };
    });
  }

  async recordRegistration(request: RegistrationRequest): Promise<void> {
    const { control, operations, membership } = this.#parts;
    control.checkLeads();
    if ((await membership.roleOf(request.nodeId)) === undefined) {
      throw new RaftsealError(
        'RAFTSEAL_NODE_UNKNOWN_MEMBER',
        `${request.nodeId} is no member of the cluster and may not seal: it has to join first`,
      );
    }
    await operations.recordRegistration(request);
  }

  proveCapability(challenge: CapabilityChallenge): Promise<CapabilityProof> {
    return proveCapability(this.#parts.keys, challenge);
  }

  async keyState(): Promise<Uint8Array> {
    return this.#parts.snapshots.keyState();
  }

  keyNeeds(dekId: number): Promise<KeyNeeds> {
    return keyNeeds(this.#parts, dekId);
  }

  turnOverLogs(): Promise<readonly number[]> {
    return turnOverLogs(this.#parts);
  }

  snapshot(shardId: number): Promise<PeerSnapshot> {
    return this.#parts.snapshots.offer(shardId);
  }

  nonceRecords(part: NoncePart): NonceRecordStream {
    return { chunks: this.#audited.records(part), release: () => undefined };
  }

  nonceEvidence(): Promise<NonceEvidence> {
    return this.#audited.evidence();
  }

  get #audited(): AuditMember {
    const { keys, shards } = this.#parts;
    return runningMember({ keys, shards, logPlace: 'etcd', logs: undefined });
  }

  #checkIdentity({ nodeId, formatVersion, clusterId, shardCount }: PeerIdentity): void {
    const own = this.identity();
    if (formatVersion !== own.formatVersion) {
      throw new RaftsealError(
        'RAFTSEAL_NODE_CLUSTER_FORMAT',
        `${nodeId} is of format ${formatVersion} and the cluster of ${own.formatVersion}: start it ` +
          'with the release that the other nodes run',
      );
    }
    if (clusterId !== null && clusterId !== own.clusterId) {
      throw new RaftsealError(
        'RAFTSEAL_NODE_FOREIGN_CLUSTER',
        `${nodeId} has the keys of another cluster: start it on a new data directory`,
      );
    }
    if (shardCount !== own.shardCount) throw otherShardCount(own.shardCount, shardCount);
  }

  #controlTerm(): bigint {
    const term = this.#parts.shards[CONTROL_SHARD]?.group.term;
    if (term !== undefined) return term;
    this.#parts.control.checkLeads();
    throw new Error('whoever leads has a term');
  }
}

/** Whoever asks to join asks again. */
function restoring(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_NOT_READY',
    'a backup is being restored to this cluster: nodes are admitted once that has ended, and the ' +
      'node that it was restored to is started',
  );
}
