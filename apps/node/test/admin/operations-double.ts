/** Admin operations that note what they are asked for, and answer what a test gives them. */
import type { KeyPurpose } from '@raftseal/interface';
import type {
  AdminOperations,
  BackupStatus,
  BackupSummary,
  LogRequest,
  NodeStatus,
  ShardDigest,
} from '../../src/admin/operations.ts';
import type { AuditedCall, CallEnd } from '../../src/audit/audit-trail.ts';
import type { NonceReport } from '../../src/nonces/report.ts';
import type { Blocker } from '../../src/retirement/blocker.ts';
import type { RetirementReceipt } from '../../src/retirement/retirement.ts';
import type { Attestation } from '../../src/sealed-only/attestation.ts';
import type { CleartextLeft } from '../../src/sealed-only/cleartext-left.ts';
import type { LogEntrySummary } from '../../src/verify/log-walk.ts';
import type { VerifyReport } from '../../src/verify/report.ts';

export const someStatus: NodeStatus = {
  nodeId: 'node-1',
  version: '1.2.3',
  ready: true,
  uptimeMs: 61_400,
  encryption: 'enabling',
  kekUris: ['file:/etc/raftseal/kek'],
  keks: [
    { uri: 'file:/etc/raftseal/kek', outOfReach: null },
    { uri: 'aws-kms:arn:1', outOfReach: 'RAFTSEAL_KEK_UNAVAILABLE' },
  ],
  clusterId: '00112233445566778899aabbccddeeff',
  storage: 'sealed',
  sealedOnlyIndex: null,
  certificateFingerprint: 'cd'.repeat(32),
  clients: 3,
  shards: [
    {
      shardId: 0,
      state: 'leading',
      term: '4',
      appliedIndex: '9007199254740993',
      durableIndex: '12',
      log: 'sealed',
      cutoverIndex: '3',
      raftDekId: 4_000_000_000,
      cutoverGateMs: 1.25,
      queuedBytes: 0,
      rowsSealed: 10,
      rowsCleartext: 0,
      rewrite: {
        dekId: 17,
        rowsDone: 4,
        rowsTotal: 10,
        startedAt: '2026-01-02T03:05:05.000Z',
        remainingMs: 61_000,
        quarantined: 1,
        quarantinedRows: [{ rowKey: '0a'.repeat(32), code: 'RAFTSEAL_ENVELOPE_INTEGRITY' }],
      },
      dirtyBytes: 5,
      cacheBytes: 6,
      haltCode: null,
    },
    {
      shardId: 1,
      state: 'halted',
      term: null,
      appliedIndex: '7',
      durableIndex: '7',
      log: 'cleartext',
      cutoverIndex: null,
      raftDekId: null,
      cutoverGateMs: null,
      queuedBytes: 0,
      rowsSealed: 0,
      rowsCleartext: 2,
      rewrite: null,
      dirtyBytes: 0,
      cacheBytes: 0,
      haltCode: 'RAFTSEAL_SHARD_GROUP_OPEN_FAILED',
    },
  ],
  keys: [
    {
      dekId: 4_000_000_000,
      purpose: 'raft',
      active: true,
      createdAt: '2026-01-02T03:04:05.000Z',
      kekUris: ['file:/etc/raftseal/kek'],
      nonceEpoch: 2,
      seals: '18446744073709551615',
      sealsOfCluster: '2147483648',
      budgetLeft: 0.5,
      nextRotation: {
        cause: 'age',
        at: '2026-04-02T03:04:05.000Z',
        heldUpBy: null,
      },
    },
    {
      dekId: 17,
      purpose: 'raft',
      active: false,
      createdAt: '2025-01-02T03:04:05.000Z',
      kekUris: ['file:/etc/raftseal/kek'],
      nonceEpoch: 1,
      seals: '0',
      sealsOfCluster: '0',
      budgetLeft: 1,
      nextRotation: null,
    },
  ],
  retiredDekIds: [5],
  backups: [{ backupId: 'monday', createdAt: '2026-01-03T00:00:00.000Z', dekIds: [17] }],
  audit: { records: 12, headHash: 'ab'.repeat(32), failure: null },
  cluster: null,
  alarms: [{ name: 'shard-halted', what: 'shard 1: RAFTSEAL_SHARD_GROUP_OPEN_FAILED' }],
};

export const someReport: VerifyReport = {
  clean: true,
  sealedThroughout: true,
  logs: [],
  stores: [],
  files: [],
  problems: [],
  cleartext: [],
};

export const someNonceReport: NonceReport = {
  clean: true,
  members: [{ nodeId: 'node-1', directory: null, read: 'log and stores', isAuthenticated: true }],
  envelopes: 5,
  copies: 1,
  passes: 1,
  ranges: [
    {
      dekId: 17,
      purpose: 'raft',
      writerId: 1,
      nodeId: 'node-1',
      nonceEpoch: 2,
      envelopes: 3,
      lowest: 1,
      highest: 7,
      registrations: 1,
    },
  ],
  findings: [],
  findingCount: 0,
};

export const someEntry: LogEntrySummary = {
  index: '5',
  term: '1',
  payload: 'sealed',
  dekId: 17,
  kind: null,
  bytes: 90,
};

export const someReceipt: RetirementReceipt = {
  format: 'raftseal retirement receipt 1',
  clusterId: '00112233445566778899aabbccddeeff',
  dekId: 17,
  purpose: 'raft',
  controlIndex: '90',
  madeAt: '2026-01-02T03:04:05.000Z',
  madeBy: 'node-1',
  members: [{ nodeId: 'node-1', rows: 0 }],
  logs: [{ shardId: 0, firstIndex: '91', headIndex: '91' }],
};

export const someBackup: BackupStatus = {
  backupId: 'backup-20260131T120000Z-89abcdef',
  createdAt: '2026-01-31T12:00:00.000Z',
  dekIds: [17, 4_294_967_294],
};

export class OperationsDouble implements AdminOperations {
  healthy = true;
  /** What every operation but `status` fails with, if set. */
  failure: unknown;
  /** What a call fails with before it is acted on, if set. */
  auditFailure: unknown;
  readonly audited: (AuditedCall & { code: string })[] = [];
  nodeStatus: NodeStatus = someStatus;
  report: VerifyReport = someReport;
  nonceReport: NonceReport = someNonceReport;
  blockers: readonly Blocker[] = [];
  certificateText = '{}\n';
  /** Every call that could change or cost something. */
  readonly calls: (readonly [name: string, ...given: unknown[]])[] = [];

  status(): NodeStatus {
    return this.nodeStatus;
  }

  async enableEncryption(waves?: readonly (readonly number[])[]): Promise<void> {
    this.#note('enableEncryption', waves);
  }

  async rotate(purpose: KeyPurpose): Promise<number> {
    this.#note('rotate', purpose);
    return 4_294_967_294;
  }

  async rewrap(): Promise<readonly string[]> {
    this.#note('rewrap');
    return this.nodeStatus.kekUris;
  }

  async useKeks(uris: readonly string[]): Promise<void> {
    this.#note('useKeks', uris);
  }

  async retirementBlockers(dekId: number): Promise<readonly Blocker[]> {
    this.#note('retirementBlockers', dekId);
    return this.blockers;
  }

  async retire(dekId: number): Promise<RetirementReceipt> {
    this.#note('retire', dekId);
    return { ...someReceipt, dekId };
  }

  async inspectLog(request: LogRequest): Promise<readonly LogEntrySummary[]> {
    this.#note('inspectLog', request);
    return [someEntry];
  }

  async enableSealedOnly(): Promise<void> {
    this.#note('enableSealedOnly');
  }

  async cleartextLeft(): Promise<CleartextLeft> {
    this.#note('cleartextLeft');
    return { nodeId: this.nodeStatus.nodeId, left: [] };
  }

  async attest(): Promise<Attestation> {
    this.#note('attest');
    const { nodeId, clusterId, version, sealedOnlyIndex } = this.nodeStatus;
    const { report } = this;
    return { nodeId, clusterId, release: version, sealedOnlyIndex, left: [], report };
  }

  async certificate(): Promise<string> {
    this.#note('certificate');
    return this.certificateText;
  }

  async verify(): Promise<VerifyReport> {
    this.#note('verify');
    return this.report;
  }

  async auditNonces(): Promise<NonceReport> {
    this.#note('auditNonces');
    return this.nonceReport;
  }

  async digest(): Promise<Readonly<Record<number, ShardDigest>>> {
    this.#note('digest');
    return { 0: { index: '7', digest: 'ab'.repeat(32) } };
  }

  async createBackup(path: string): Promise<BackupSummary> {
    this.#note('createBackup', path);
    return { backupId: someBackup.backupId, path, bytes: 4096, rows: 7, dekIds: someBackup.dekIds };
  }

  backups(): readonly BackupStatus[] {
    this.#note('backups');
    return [someBackup];
  }

  async registerBackup(backupId: string): Promise<readonly number[]> {
    this.#note('registerBackup', backupId);
    return someBackup.dekIds;
  }

  async forgetBackup(backupId: string): Promise<void> {
    this.#note('forgetBackup', backupId);
  }

  async promoteMember(nodeId: string): Promise<void> {
    this.#note('promoteMember', nodeId);
  }

  async removeMember(nodeId: string): Promise<void> {
    this.#note('removeMember', nodeId);
  }

  async preferLeader(shardId: number, nodeId: string | null): Promise<void> {
    this.#note('preferLeader', shardId, nodeId);
  }

  /** Not among the calls: the ones it is about are. */
  async noteCall(call: AuditedCall): Promise<CallEnd> {
    if (this.auditFailure !== undefined) throw this.auditFailure;
    const record = { ...call, code: 'none' };
    this.audited.push(record);
    return async (code) => {
      record.code = code;
    };
  }

  async metrics(): Promise<{ readonly contentType: string; readonly text: string }> {
    this.#note('metrics');
    return { contentType: 'text/plain; version=0.0.4', text: 'raftseal_clients 3\n' };
  }

  #note(name: string, ...given: unknown[]): void {
    this.calls.push([name, ...given.filter((value) => value !== undefined)]);
    if (this.failure !== undefined) throw this.failure;
  }
}
