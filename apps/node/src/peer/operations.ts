/**
 * What nodes of one cluster ask of each other. The node implements it; the peer server offers it
 * to the others, and the peer client has one method for each.
 */
import type { WrapBinding, WrappedKey } from '@raftseal/interface';
import type { Address } from '../config.ts';
import type { NonceEvidence } from '../nonces/evidence.ts';
import type { NoncePart } from '../nonces/nonce-record.ts';
import type { KeyNeeds } from '../retirement/key-needs.ts';

/** Who a node is. Nothing in it is a secret. */
export interface PeerIdentity {
  readonly nodeId: string;
  /** Of the data directory. */
  readonly formatVersion: number;
  /** The version of raftseal that the node runs, such as 1.2.3. */
  readonly release: string;
  /** Hex; null before the node knows of any keys. */
  readonly clusterId: string | null;
  readonly shardCount: number;
}

/** A node asks to become a member, or tells where it is reached from now on. */
export interface JoinRequest {
  readonly identity: PeerIdentity;
  readonly role: 'voter' | 'learner';
  readonly peer: Address;
}

export interface JoinReply {
  /** Hex; null while the cluster has no keys. */
  readonly clusterId: string | null;
  readonly shardCount: number;
  /** Ids of all members, the new one among them. */
  readonly members: readonly string[];
}

/** A claim of a nonce epoch, to be put in the log by the leader of the control shard. */
export interface RegistrationRequest {
  readonly nodeId: string;
  readonly dekId: number;
  /** 1..65535 */
  readonly epoch: number;
  /** 16 random bytes: tells the claim of one process from that of a copy of it. */
  readonly claimId: Uint8Array;
}

/** A key made for the occasion, to be unwrapped with a KEK of the node that is asked. */
export interface CapabilityChallenge {
  readonly binding: WrapBinding;
  readonly wraps: readonly WrappedKey[];
  /** 32 random bytes. */
  readonly nonce: Uint8Array;
}

/** What only a node that can unwrap the key of the challenge can answer. */
export interface CapabilityProof {
  readonly nodeId: string;
  readonly formatVersion: number;
  readonly release: string;
  /** 32 bytes: HMAC-SHA-256 of nonce and node id under the unwrapped key. */
  readonly mac: Uint8Array;
}

/** A snapshot on its way between nodes. Boundaries of chunks mean nothing. */
export interface PeerSnapshot {
  readonly header: Uint8Array;
  /** Iterated once at most. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Ends it wherever it is; idempotent. Must be called in every case, after the last chunk too. */
  release(): void;
}

/** Records of the nonces in the stores of a node, on their way to another one. */
export type NonceRecordStream = Pick<PeerSnapshot, 'chunks' | 'release'>;

export interface PeerOperations {
  identity(): PeerIdentity;
  /** @throws RAFTSEAL_NODE_NOT_CONTROL_LEADER */
  join(request: JoinRequest): Promise<JoinReply>;
  /** @throws RAFTSEAL_NODE_NOT_CONTROL_LEADER */
  recordRegistration(request: RegistrationRequest): Promise<void>;
  proveCapability(challenge: CapabilityChallenge): Promise<CapabilityProof>;
  /** The key state that all replicas share, as the applier encodes it. */
  keyState(): Promise<Uint8Array>;
  /** What this node needs a DEK for. */
  keyNeeds(dekId: number): Promise<KeyNeeds>;
  /** Ids of the shards that this node leads, and whose logs it has turned over. */
  turnOverLogs(): Promise<readonly number[]>;
  /** The caller releases it. */
  snapshot(shardId: number): Promise<PeerSnapshot>;
  /** Records (nonces/nonce-record.ts) of what this node's stores were sealed with. */
  nonceRecords(part: NoncePart): NonceRecordStream;
  nonceEvidence(): Promise<NonceEvidence>;
}
