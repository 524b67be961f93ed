/** What tests of backups do again and again. */
import { join } from 'node:path';
import { codeOf } from '@raftseal/interface';
import { pino } from 'pino';
import { onTestFinished } from 'vitest';
import {
  type RestoreRequest,
  type RestoreSummary,
  restoreBackup,
} from '../../src/backup/restore.ts';
import { type BackupVerification, verifyBackup } from '../../src/backup/verification.ts';
import type { NodeConfig } from '../../src/config.ts';
import { KekSet } from '../../src/kek-set.ts';
import type { Node } from '../../src/node.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

export const silent = pino({ level: 'silent' });

/** A path at which nothing is yet. */
export function newPath(name = 'backup'): string {
  return join(temporaryDirectory(), name);
}

export async function verify(
  path: string,
  { kekUris }: Pick<NodeConfig, 'kekUris'>,
): Promise<BackupVerification> {
  const keks = await KekSet.open(kekUris);
  onTestFinished(() => keks.close());
  return verifyBackup(path, keks);
}

/** Restores what was taken of a node with `from`, to be started with `to`. */
export function restore(
  backupPath: string,
  { from, to }: { readonly from: Pick<NodeConfig, 'kekUris'>; readonly to: NodeConfig },
  changes: Partial<RestoreRequest> = {},
): Promise<RestoreSummary> {
  const request: RestoreRequest = {
    backupPath,
    dataPath: to.dataPath,
    kekUris: to.kekUris,
    backupKekUris: from.kekUris,
    shardCount: to.shardCount,
    replace: false,
    cluster: to.cluster,
    ...changes,
  };
  return restoreBackup(request, silent);
}

/** Of everything that is stored and has not expired by then. */
export async function contentOf({ shards }: Node, nowMs = 0): Promise<string> {
  const [first, ...others] = await Promise.all(shards.map(({ kv }) => kv.contentDigest(nowMs)));
  for (const other of others) first?.merge(other);
  return first?.result() ?? '';
}

/** The code of what an attempt is refused with. */
export function refusal(attempt: Promise<unknown>): Promise<string | undefined> {
  return attempt.then(() => 'done', codeOf);
}
