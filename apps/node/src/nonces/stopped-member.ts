/**
 * A data directory that no node uses, as an audit of its nonces reads it: without a KEK, so what the
 * sidecar says is not authenticated, and without a change to it but the lock.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { initialKeyState } from '@raftseal/applier';
import { type KeyState, RaftsealError } from '@raftseal/interface';
import { stoppedStoreEnvelopes } from '@raftseal/kv';
import { SidecarFile } from '@raftseal/sidecar';
import { dataDirectoryPaths, type Identity, readIdentity } from '../data-directory.ts';
import { lockDirectory } from '../data-directory-lock.ts';
import { embeddedFindings } from '../node-logs.ts';
import { readWriterRows } from '../writer-registry-store.ts';
import { evidenceOf, type NonceEvidence } from './evidence.ts';
import { type AuditMember, auditNonces, type NonceAuditOptions } from './nonce-audit.ts';
import type { NoncePart } from './nonce-record.ts';
import { logRecords, storeRecords } from './record-walk.ts';
import type { NonceReport } from './report.ts';

/**
 * Audits data directories of one cluster, all of which are locked meanwhile.
 * @throws RAFTSEAL_NODE_DATA_DIR, _DATA_DIR_FORMAT, _DATA_DIR_LOCKED, _REGISTRY_CORRUPT,
 *   _FOREIGN_CLUSTER, RAFTSEAL_SIDECAR_*
 */
export async function auditStoppedNodes(
  directories: readonly string[],
  options: NonceAuditOptions = {},
): Promise<NonceReport> {
  const members: AuditMember[] = [];
  const releases: (() => Promise<void>)[] = [];
  try {
    for (const path of directories.map((directory) => resolve(directory))) {
      const identity = await readIdentity(path);
      if (!identity) throw noDataDirectory(path);
      const lock = await lockDirectory(dataDirectoryPaths(path).lock);
      releases.push(() => lock.release());
      members.push(stoppedMember(path, identity));
    }
    return await auditNonces(members, options);
  } finally {
    for (const release of releases) await release();
  }
}

function stoppedMember(path: string, identity: Identity): AuditMember {
  return {
    nodeId: identity.nodeId,
    directory: path,
    reads: identity.logPlace === 'embedded' ? 'log and stores' : 'stores',
    records: (part) => recordsOf(path, identity, part),
    evidence: () => stoppedEvidence(path, identity),
  };
}

async function* recordsOf(
  path: string,
  { shardCount, logPlace }: Identity,
  part: NoncePart,
): AsyncGenerator<Buffer> {
  const { log, shards } = dataDirectoryPaths(path);
  if (logPlace === 'embedded' && existsSync(log)) {
    yield* logRecords(embeddedFindings(log), { part, shardCount });
  }
  for (let shardId = 0; shardId < shardCount; shardId++) {
    const store = join(shards, `${shardId}`, 'store');
    if (!existsSync(join(store, 'data.mdb'))) continue;
    yield* storeRecords(stoppedStoreEnvelopes(store), { part, shardId });
  }
}

async function stoppedEvidence(
  path: string,
  { nodeId, logPlace }: Identity,
): Promise<NonceEvidence> {
  const { keys } = dataDirectoryPaths(path);
  const registry = join(keys, 'writers');
  const rows = existsSync(join(registry, 'data.mdb')) ? await readWriterRows(registry) : [];
  const state = await unverifiedState(nodeId, keys);
  return { ...evidenceOf(state, rows), logPlace, isAuthenticated: false, drawn: [] };
}

async function unverifiedState(nodeId: string, directory: string): Promise<KeyState> {
  if (!existsSync(directory)) return initialKeyState(nodeId);
  const sidecar = await new SidecarFile({ directory }).read();
  return sidecar?.state ?? initialKeyState(nodeId);
}

function noDataDirectory(path: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_DATA_DIR',
    `expected the data directory of a node at ${path}, found none: --data says where it is`,
  );
}
