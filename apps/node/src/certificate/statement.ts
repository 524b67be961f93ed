/**
 * The statement of a sealing certificate: what every member of a cluster has on its disks and in its
 * logs, and that nothing of it is in the clear. Counts are of what was read and opened.
 */
import type { KeyPurpose, KeyState } from '@raftseal/interface';
import type { SealedMember } from '../sealed-only/members.ts';
import type { FileReport } from '../verify/report.ts';

export const STATEMENT_FORMAT = 'raftseal sealing certificate';
export const STATEMENT_VERSION = 1;

export interface StatedKey {
  readonly dekId: number;
  readonly purpose: KeyPurpose;
  readonly use: 'active' | 'opens only' | 'retired';
}

export interface StatedLog {
  readonly shardId: number;
  /** Of the entries that were read; null where there was none. */
  readonly firstIndex: string | null;
  readonly lastIndex: string | null;
  readonly cutoverIndex: string | null;
  /** Entries in the clear: always 0. */
  readonly cleartext: number;
  /** Entries by DEK id. */
  readonly sealed: Readonly<Record<string, number>>;
}

export interface StatedStore {
  readonly shardId: number;
  /** Rows in the clear: always 0. */
  readonly cleartext: number;
  /** Rows by DEK id. */
  readonly sealed: Readonly<Record<string, number>>;
}

export interface StatedMember {
  readonly nodeId: string;
  readonly role: 'voter' | 'learner';
  readonly release: string;
  readonly logs: readonly StatedLog[];
  readonly stores: readonly StatedStore[];
  readonly files: readonly FileReport[];
}

export interface Statement {
  readonly format: typeof STATEMENT_FORMAT;
  readonly version: typeof STATEMENT_VERSION;
  /** Hex. */
  readonly clusterId: string;
  /** UTC, by the clock of the issuer. */
  readonly issuedAt: string;
  readonly issuedBy: string;
  readonly release: string;
  /** Null where what is in the clear would still be read. */
  readonly sealedOnlyIndex: string | null;
  readonly keys: readonly StatedKey[];
  readonly members: readonly StatedMember[];
  /** Always empty: nothing is certified that has one. */
  readonly problems: readonly string[];
  /** Of the signer, 32 bytes in hex. */
  readonly publicKey: string;
}

/** What the issuer knows; the public key comes with the signature. */
export interface StatementInput {
  readonly state: KeyState;
  readonly issuedAtMs: number;
  readonly release: string;
  readonly members: readonly SealedMember[];
}

export function statementOf(input: StatementInput): Omit<Statement, 'publicKey'> {
  const { state, issuedAtMs, release, members } = input;
  return {
    format: STATEMENT_FORMAT,
    version: STATEMENT_VERSION,
    clusterId: Buffer.from(state.clusterId ?? []).toString('hex'),
    issuedAt: new Date(issuedAtMs).toISOString(),
    issuedBy: state.nodeId,
    release,
    sealedOnlyIndex: state.sealedOnlyIndex?.toString() ?? null,
    keys: statedKeys(state),
    members: members.map(statedMember),
    problems: [],
  };
}

function statedKeys({ keys, retired, activeDekId }: KeyState): readonly StatedKey[] {
  const known = [...keys].map(([dekId, { purpose }]): StatedKey => {
    return { dekId, purpose, use: activeDekId[purpose] === dekId ? 'active' : 'opens only' };
  });
  const gone = [...retired].map(([dekId, { purpose }]): StatedKey => {
    return { dekId, purpose, use: 'retired' };
  });
  return [...known, ...gone].toSorted((a, b) => a.dekId - b.dekId);
}

function statedMember({ member, attestation }: SealedMember): StatedMember {
  const { release, report } = attestation;
  return {
    nodeId: member.nodeId,
    role: member.role,
    release,
    logs: report.logs.map((log) => ({
      shardId: log.shardId,
      firstIndex: log.firstIndex,
      lastIndex: log.lastIndex,
      cutoverIndex: log.cutoverIndex,
      cleartext: log.cleartextData + log.cleartextKeyLifecycle,
      sealed: { ...log.sealed },
    })),
    stores: report.stores.map(({ shardId, cleartextRows, sealed }) => ({
      shardId,
      cleartext: cleartextRows,
      sealed: { ...sealed },
    })),
    files: report.files.map(({ path, bytes, content }) => ({ path, bytes, content })),
  };
}
