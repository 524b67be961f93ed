/**
 * Reads everything a node has on disk and says what is sealed, what is in the clear, what does not
 * open and what does not belong there. Changes nothing.
 */
import type { DataDirectory } from '../data-directory.ts';
import type { NodeKeys } from '../node-keys.ts';
import type { NodeLogs } from '../node-logs.ts';
import type { NodeShard } from '../node-shard.ts';
import { walkFiles } from './file-walk.ts';
import type { LogReport, StoreReport, VerifyReport } from './report.ts';
import { walkStore } from './store-walk.ts';

export interface VerifyParts {
  readonly directory: DataDirectory;
  readonly keys: NodeKeys;
  readonly logs: NodeLogs;
  readonly shards: readonly NodeShard[];
}

export async function verifyNode(parts: VerifyParts): Promise<VerifyReport> {
  const { directory, keys, logs, shards } = parts;
  const problems: string[] = [];
  const stores: StoreReport[] = [];
  const sealedOnly = keys.state.sealedOnlyIndex !== undefined;
  for (const { shardId, kv } of shards) {
    const walk = await walkStore(shardId, kv, sealedOnly);
    stores.push(walk.store);
    problems.push(...walk.problems);
  }
  const releases = shards.map((shard) => shard.holdTruncation());
  try {
    const log = await logs.walk({
      shardIds: shards.map(({ shardId }) => shardId),
      cutoverIndexOf: (shardId) => keys.state.cutoverIndex.get(shardId),
      sealedOnly,
      open: (place, envelope) => keys.raftSeal.open(place, envelope),
    });
    problems.push(...log.problems);
    const files = await walkFiles(directory.path);
    for (const { path, content } of files) {
      if (content === 'unknown') problems.push(`${path}: not a file of raftseal`);
    }
    const cleartext = cleartextLines(log.logs, stores);
    const clean = problems.length === 0;
    const sealedThroughout = clean && cleartext.length === 0;
    return { clean, sealedThroughout, logs: log.logs, stores, files, problems, cleartext };
  } finally {
    for (const release of releases) release();
  }
}

/**
 * What is in the clear, in words. The few entries at or below a cutover of a node that was sealed
 * from birth are the key-lifecycle entries that turned sealing on: they hold wrapped keys only.
 */
function cleartextLines(
  logs: readonly LogReport[],
  stores: readonly StoreReport[],
): readonly string[] {
  const entries = logs
    .filter(({ cleartextData }) => cleartextData > 0)
    .map(({ shardId, cleartextData, cutoverIndex }) => {
      const until = cutoverIndex === null ? 'not cut over' : `at or below ${cutoverIndex}`;
      return `log of shard ${shardId}: ${cleartextData} data entries in the clear (${until})`;
    });
  const rows = stores
    .filter(({ cleartextRows }) => cleartextRows > 0)
    .map(({ shardId, cleartextRows }) => `store of shard ${shardId}: ${cleartextRows} rows`);
  const pages = stores
    .filter(({ cleartextInFreePages }) => cleartextInFreePages)
    .map(({ shardId }) => `store of shard ${shardId}: free pages of its file, perhaps`);
  return [...entries, ...rows, ...pages];
}
