/** The admin API as a node answers it: reports of what it is made of, and operations on it. */
import { type KeyPurpose, RaftsealError } from '@raftseal/interface';
import type { AuditedCall, CallEnd } from '../audit/audit-trail.ts';
import { Backups } from '../backup/backups.ts';
import type { BackupRegistrations } from '../backup/key-registration.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { NodeFoundations } from '../foundations.ts';
import { checkOpensAll } from '../kek-set.ts';
import type { KeyOperations } from '../key-operations.ts';
import type { KeyRotation } from '../key-rotation.ts';
import { NodeMetrics } from '../node-metrics.ts';
import { nodeStatus } from '../node-status.ts';
import { nodeAudit } from '../nonces/node-audit.ts';
import type { Blocker } from '../retirement/blocker.ts';
import { Retirement, type RetirementReceipt } from '../retirement/retirement.ts';
import type { Attestation } from '../sealed-only/attestation.ts';
import type { CleartextLeft } from '../sealed-only/cleartext-left.ts';
import { SealedOnlyOperations } from '../sealed-only/operations.ts';
import { type LogEntrySummary, summarizeLog } from '../verify/log-walk.ts';
import type { VerifyReport } from '../verify/report.ts';
import { verifyNode } from '../verify/verify.ts';
import type { AdminCall } from './call.ts';
import type {
  AdminOperations,
  BackupStatus,
  BackupSummary,
  LogRequest,
  NodeStatus,
  ShardDigest,
} from './operations.ts';

export interface NodeAdminParts {
  readonly foundations: NodeFoundations;
  readonly operations: KeyOperations;
  readonly rotation: KeyRotation;
  /** Undefined: the node is alone. */
  readonly cluster: Cluster | undefined;
  readonly isReady: () => boolean;
  readonly isHealthy: () => boolean;
  readonly clientCount: () => number;
}

export class NodeAdmin implements AdminOperations {
  readonly auditNonces: AdminOperations['auditNonces'];
  readonly #parts: NodeAdminParts;
  readonly #metrics: NodeMetrics;
  readonly #sealedOnly: SealedOnlyOperations;
  readonly #startedAtMs = Date.now();
  readonly #backups: Backups;

  constructor(parts: NodeAdminParts) {
    this.#parts = parts;
    this.#sealedOnly = new SealedOnlyOperations(parts);
    this.#metrics = new NodeMetrics(() => this.status(), parts.foundations.counters);
    const { foundations, operations, cluster } = parts;
    this.#backups = new Backups({
      foundations,
      registrations: cluster ? registrationsThrough(cluster, operations) : here(operations),
    });
    this.auditNonces = nodeAudit(parts.foundations, parts.cluster);
  }

  get healthy(): boolean {
    return this.#parts.isHealthy();
  }

  status(): NodeStatus {
    const { foundations, rotation, cluster, isReady, clientCount } = this.#parts;
    const { keys, shards, audit } = foundations;
    return nodeStatus({
      keys,
      rotation,
      shards,
      audit: audit.status(),
      ready: isReady(),
      cluster: cluster?.status() ?? null,
      uptimeMs: Date.now() - this.#startedAtMs,
      clients: clientCount(),
      kekUris: keys.keks.uris,
    });
  }

  metrics(): Promise<{ readonly contentType: string; readonly text: string }> {
    return this.#metrics.text();
  }

  async enableEncryption(waves?: readonly (readonly number[])[]): Promise<void> {
    await this.#parts.operations.enableEncryption(waves);
  }

  rotate(purpose: KeyPurpose): Promise<number> {
    return this.#parts.operations.rotate(purpose);
  }

  rewrap(): Promise<readonly string[]> {
    return this.#parts.operations.rewrap();
  }

  async useKeks(uris: readonly string[]): Promise<void> {
    const { operations, foundations } = this.#parts;
    const { keks, state } = foundations.keys;
    await operations.exclusively(() => keks.use(uris, (next) => checkOpensAll(next, state)));
  }

  retirementBlockers(dekId: number): Promise<readonly Blocker[]> {
    return this.#retirement().blockers(dekId);
  }

  retire(dekId: number): Promise<RetirementReceipt> {
    return this.#retirement().retire(dekId);
  }

  async inspectLog(request: LogRequest): Promise<readonly LogEntrySummary[]> {
    const { shards, logs } = this.#parts.foundations;
    const shard = shards[request.shardId];
    if (shard) return summarizeLog(logs.engine(shard.shardId), request);
    const message = `expected a shard from 0 to ${shards.length - 1}`;
    throw new RaftsealError('RAFTSEAL_NODE_BAD_REQUEST', message);
  }

  enableSealedOnly(): Promise<void> {
    return this.#sealedOnly.enable();
  }

  cleartextLeft(): Promise<CleartextLeft> {
    return this.#sealedOnly.cleartextLeft();
  }

  attest(): Promise<Attestation> {
    return this.#sealedOnly.attest();
  }

  certificate(): Promise<string> {
    return this.#sealedOnly.certificate();
  }

  verify(): Promise<VerifyReport> {
    return verifyNode(this.#parts.foundations);
  }

  async digest(): Promise<Readonly<Record<number, ShardDigest>>> {
    const digests: Record<number, ShardDigest> = {};
    for (const { shardId, kv } of this.#parts.foundations.shards) {
      const { index, digest } = await kv.digest();
      digests[shardId] = { index: index.toString(), digest };
    }
    return digests;
  }

  createBackup(path: string): Promise<BackupSummary> {
    return this.#backups.create(path);
  }

  backups(): readonly BackupStatus[] {
    return this.#backups.list();
  }

  registerBackup(backupId: string): Promise<readonly number[]> {
    return this.#parts.operations.registerBackup(backupId);
  }

  async forgetBackup(backupId: string): Promise<void> {
    await this.#parts.operations.forgetBackup(backupId);
  }

  async promoteMember(nodeId: string): Promise<void> {
    await this.#cluster().promoteMember(nodeId);
  }

  async removeMember(nodeId: string): Promise<void> {
    await this.#cluster().removeMember(nodeId);
  }

  async preferLeader(shardId: number, nodeId: string | null): Promise<void> {
    await this.#cluster().preferLeader(shardId, nodeId);
  }

  noteCall(call: AuditedCall): Promise<CallEnd> {
    return this.#parts.foundations.audit.call(call);
  }

  #retirement(): Retirement {
    const { foundations, operations, cluster } = this.#parts;
    return new Retirement({ ...foundations, operations, others: cluster?.others });
  }

  #cluster(): Cluster {
    const { cluster } = this.#parts;
    if (cluster) return cluster;
    throw new RaftsealError(
      'RAFTSEAL_NODE_NOT_FOUND',
      'this node is alone and has no members to change: start it with --etcd to be of a cluster',
    );
  }
}

/** On a node that is alone. */
function here(operations: KeyOperations): BackupRegistrations {
  return {
    register: (backupId) => operations.registerBackup(backupId),
    forget: (backupId) => operations.forgetBackup(backupId),
  };
}

/** At whoever leads the control shard, as often as it takes. */
function registrationsThrough(cluster: Cluster, operations: KeyOperations): BackupRegistrations {
  const local = here(operations);
  const call = (path: string, backupId: string): AdminCall => ({
    method: 'POST',
    path: `/v1/backups/${path}`,
    body: JSON.stringify({ backupId }),
  });
  return {
    register: async (backupId) => {
      const { dekIds } = await cluster.controlCalls.ask(call('register', backupId), async () => ({
        dekIds: await local.register(backupId),
      }));
      return dekIds;
    },
    forget: async (backupId) => {
      await cluster.controlCalls.ask(call('forget', backupId), async () => {
        await local.forget(backupId);
        return {};
      });
    },
  };
}
