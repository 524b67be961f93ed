/** The audit of a node that runs, and of all members of its cluster. */
import type { NodeFoundations } from '../foundations.ts';
import { type AuditMember, auditNonces } from './nonce-audit.ts';
import type { NonceReport } from './report.ts';
import { runningMember } from './running-member.ts';

/** One at a time, for what it costs: whoever asks meanwhile gets the same answer. */
export function nodeAudit(
  { keys, shards, logs }: NodeFoundations,
  cluster: { auditedPeers(): Promise<readonly AuditMember[]> } | undefined,
): () => Promise<NonceReport> {
  const logPlace = cluster ? 'etcd' : 'embedded';
  const own = runningMember({ keys, shards, logs, logPlace });
  const audit = async (): Promise<NonceReport> => {
    const peers = cluster ? await cluster.auditedPeers() : [];
    return auditNonces([own, ...peers]);
  };
  let running: Promise<NonceReport> | undefined;
  return () => {
    running ??= audit().finally(() => {
      running = undefined;
    });
    return running;
  };
}
