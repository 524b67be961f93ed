/** Walks the rows of a store: in the clear, sealed under which key, and whether they open. */
import { codeOf } from '@raftseal/interface';
import type { KvStateMachine } from '@raftseal/kv';
import { DEK_ID_OFFSET, SEALED_ONLY } from './log-walk.ts';
import type { StoreReport } from './report.ts';

export interface StoreWalk {
  readonly store: StoreReport;
  readonly problems: readonly string[];
}

/** Rows read per turn of the event loop, so that the node goes on serving meanwhile. */
const ROWS_PER_TURN = 200;

/** Enough of a row key to find the row again. */
const NAME_BYTES = 8;

export async function walkStore(
  shardId: number,
  kv: KvStateMachine,
  sealedOnly: boolean,
): Promise<StoreWalk> {
  const sealed = new Map<number, number>();
  const problems: string[] = [];
  let cleartextRows = 0;
  let rows = 0;
  for (const row of kv.inspectRows()) {
    if (row.problem !== undefined) {
      const name = row.rowKey.toString('hex', 0, NAME_BYTES);
      const code = codeOf(row.problem) ?? 'unexpected error';
      problems.push(`store of shard ${shardId}, row ${name}: does not open (${code})`);
    } else if (row.sealed) {
      const dekId = row.closed.readUInt32BE(DEK_ID_OFFSET);
      sealed.set(dekId, (sealed.get(dekId) ?? 0) + 1);
    } else cleartextRows++;
    rows++;
    if (rows % ROWS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  if (sealedOnly && cleartextRows > 0) {
    problems.push(`store of shard ${shardId}: ${cleartextRows} rows ${SEALED_ONLY}`);
  }
  const store = {
    shardId,
    cleartextRows,
    cleartextInFreePages: kv.statistics().cleartextLeft,
    sealed: Object.fromEntries(sealed),
  };
  return { store, problems };
}
