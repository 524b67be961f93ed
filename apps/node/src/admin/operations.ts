/** What the admin API offers, as the node implements it and as its replies look in JSON. */
import type { KeyPurpose } from '@raftseal/interface';
import type { AuditedCall, AuditStatus, CallEnd } from '../audit/audit-trail.ts';
import type { NonceReport } from '../nonces/report.ts';
import type { Blocker } from '../retirement/blocker.ts';
import type { RetirementReceipt } from '../retirement/retirement.ts';
import type { RotationCause } from '../rotation-policy.ts';
import type { Attestation } from '../sealed-only/attestation.ts';
import type { CleartextLeft } from '../sealed-only/cleartext-left.ts';
import type { LogEntrySummary } from '../verify/log-walk.ts';
import type { VerifyReport } from '../verify/report.ts';

/** How far the rows of a store are brought under the active DEK. */
export interface RewriteStatus {
  readonly dekId: number;
  readonly rowsDone: number;
  readonly rowsTotal: number;
  /** When this process began, or went on. */
  readonly startedAt: string;
  /** Estimated; null before the first row, 0 once every row was met. */
  readonly remainingMs: number | null;
  /** Rows that do not open, and stay as they are until their keys are set anew. */
  readonly quarantined: number;
  /** The first 100 of them. */
  readonly quarantinedRows: readonly { readonly rowKey: string; readonly code: string }[];
}

/** Indexes and counters are decimal strings: JSON numbers end at 2^53. */
export interface ShardStatus {
  readonly shardId: number;
  readonly state: string;
  readonly term: string | null;
  readonly appliedIndex: string;
  readonly durableIndex: string;
  /** `cleartext`, or `sealed` from the entry above `cutoverIndex` on. */
  readonly log: 'cleartext' | 'sealed';
  readonly cutoverIndex: string | null;
  readonly raftDekId: number | null;
  /** For how long proposals waited while this node led the shard's cutover. */
  readonly cutoverGateMs: number | null;
  readonly queuedBytes: number;
  readonly rowsSealed: number;
  readonly rowsCleartext: number;
  /** Null where every sealed row of the store is under the active DEK. */
  readonly rewrite: RewriteStatus | null;
  readonly dirtyBytes: number;
  readonly cacheBytes: number;
  /** Code of the error that halted the shard. */
  readonly haltCode: string | null;
}

export interface KeyStatus {
  readonly dekId: number;
  readonly purpose: KeyPurpose;
  readonly active: boolean;
  readonly createdAt: string;
  readonly kekUris: readonly string[];
  readonly nonceEpoch: number;
  /** Seals drawn by this process. */
  readonly seals: string;
  /** Seals of all nodes, over all their processes, as far as this node knows. */
  readonly sealsOfCluster: string;
  /** The part of the seals that a data key is good for: 1 for a new one, 0 for a used-up one. */
  readonly budgetLeft: number;
  /** Null for a key that is not active, and where nothing is foreseen. */
  readonly nextRotation: RotationStatus | null;
}

export interface RotationStatus {
  readonly cause: RotationCause;
  /** Null for now: at once, or as soon as what holds it up is gone. */
  readonly at: string | null;
  /** Code of what keeps the leader of the control shard from it; null on every other node. */
  readonly heldUpBy: string | null;
}

export interface KekStatus {
  readonly uri: string;
  /** Why it could not be opened yet; null for one that was. */
  readonly outOfReach: string | null;
}

/** A backup whose keys are kept from being retired. */
export interface BackupStatus {
  readonly backupId: string;
  readonly createdAt: string;
  readonly dekIds: readonly number[];
}

/** What somebody has to look at. */
export interface Alarm {
  readonly name:
    | 'audit-not-written'
    | 'clock-behind-keys'
    | 'kek-out-of-reach'
    | 'member-out-of-reach'
    | 'nonce-epochs-low'
    | 'rotation-held-up'
    | 'seals-high'
    | 'shard-halted';
  readonly what: string;
}

export interface MemberStatus {
  readonly nodeId: string;
  readonly role: 'voter' | 'learner';
  readonly isSelf: boolean;
  readonly isAlive: boolean;
  /** `host:port`; null while the node takes no clients, or is out of reach. */
  readonly redis: string | null;
  readonly peer: string | null;
  /** Ids of the shards it leads. */
  readonly leads: readonly number[];
}

export interface ClusterStatus {
  readonly name: string;
  /** Size of etcd's database. */
  readonly etcdBytes: number;
  readonly members: readonly MemberStatus[];
}

export interface NodeStatus {
  readonly nodeId: string;
  readonly version: string;
  readonly ready: boolean;
  readonly uptimeMs: number;
  readonly encryption: 'off' | 'enabling' | 'sealed';
  /** As the node was started with, or was told since. */
  readonly kekUris: readonly string[];
  readonly keks: readonly KekStatus[];
  readonly clusterId: string | null;
  /** Whether values are sealed as they are written to the store. */
  readonly storage: 'cleartext' | 'sealed';
  /** Index on the control shard from which nothing in the clear is read; null before. */
  readonly sealedOnlyIndex: string | null;
  /** Of the key that signs sealing certificates, 64 hex digits; null without keys. */
  readonly certificateFingerprint: string | null;
  readonly clients: number;
  readonly shards: readonly ShardStatus[];
  readonly keys: readonly KeyStatus[];
  /** Ids of keys that nothing needs any more. */
  readonly retiredDekIds: readonly number[];
  readonly backups: readonly BackupStatus[];
  readonly audit: AuditStatus;
  /** Null on a node that is alone. */
  readonly cluster: ClusterStatus | null;
  readonly alarms: readonly Alarm[];
}

/** A backup that was taken. */
export interface BackupSummary {
  readonly backupId: string;
  /** Absolute, on the disk of the node that took it. */
  readonly path: string;
  readonly bytes: number;
  readonly rows: number;
  readonly dekIds: readonly number[];
}

/** Equal on two nodes that have applied the same entries of a shard, whatever their disks hold. */
export interface ShardDigest {
  readonly index: string;
  readonly digest: string;
}

export interface AdminOperations {
  status(): NodeStatus;
  /** All shards serve. */
  readonly healthy: boolean;
  enableEncryption(waves?: readonly (readonly number[])[]): Promise<void>;
  rotate(purpose: KeyPurpose): Promise<number>;
  /** Wraps every key under the KEKs of this node, and no others; resolves to their URIs. */
  rewrap(): Promise<readonly string[]>;
  /** Goes over to other KEKs, which have to open every key. */
  useKeks(uris: readonly string[]): Promise<void>;
  /** What keeps a DEK from being retired. */
  retirementBlockers(dekId: number): Promise<readonly Blocker[]>;
  /** Has every replica forget a DEK that nothing needs; for a retired one, a new receipt. */
  retire(dekId: number): Promise<RetirementReceipt>;
  inspectLog(request: LogRequest): Promise<readonly LogEntrySummary[]>;
  verify(): Promise<VerifyReport>;
  /** Has every replica refuse what is in the clear from now on, once no member has any. */
  enableSealedOnly(): Promise<void>;
  /** What this node still has in the clear. */
  cleartextLeft(): Promise<CleartextLeft>;
  /** Gives up what this node holds in the clear, and reads everything it has. */
  attest(): Promise<Attestation>;
  /** The text of a sealing certificate of the whole cluster. */
  certificate(): Promise<string>;
  /** Whether any nonce was used twice, over all members of a cluster. */
  auditNonces(): Promise<NonceReport>;
  /** By shard id. */
  digest(): Promise<Readonly<Record<number, ShardDigest>>>;
  /** Takes a backup into a new or empty directory on the disk of this node. */
  createBackup(path: string): Promise<BackupSummary>;
  backups(): readonly BackupStatus[];
  /** Keeps the keys of stored values from being retired; resolves to their ids. Idempotent. */
  registerBackup(backupId: string): Promise<readonly number[]>;
  forgetBackup(backupId: string): Promise<void>;
  /** Makes a learner a voter. */
  promoteMember(nodeId: string): Promise<void>;
  removeMember(nodeId: string): Promise<void>;
  /** Wishes for a node to lead a shard; `null` takes the wish back. */
  preferLeader(shardId: number, nodeId: string | null): Promise<void>;
  /**
   * Puts a call in the audit trail, before it is acted on, and gives how to put its end there.
   * @throws RAFTSEAL_NODE_AUDIT_UNAVAILABLE: it must not be acted on
   */
  noteCall(call: AuditedCall): Promise<CallEnd>;
  /** Prometheus text format. */
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
}

export interface LogRequest {
  readonly shardId: number;
  /** Undefined: the first entry that is still there. */
  readonly from: bigint | undefined;
  readonly limit: number;
}
