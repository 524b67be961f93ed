/**
 * What holds for a store once its cluster reads nothing but what is sealed: no row and no meta row
 * in the clear, and no free page that may hold one. The sealed meta row says that it holds, so that
 * whoever opens the store with an older key state notices.
 */
import { fatalError, RaftsealError } from '@raftseal/interface';
import type { RowSource } from './row-source.ts';
import { hasClearMeta, type StoreMeta } from './store-meta.ts';
import { CLEAR_EXPIRY_TABLE, CLEAR_ROWS_TABLE } from './tables.ts';

/**
 * @param cleartextLeft whether free pages may hold what was once in the clear.
 * @throws fatal RAFTSEAL_KV_CLEARTEXT_REFUSED
 */
export function checkNothingClear(source: RowSource, cleartextLeft: boolean): void {
  const rows = source.count(CLEAR_ROWS_TABLE);
  const hints = source.count(CLEAR_EXPIRY_TABLE);
  if (rows > 0 || hints > 0) throw refused(`${rows} rows and ${hints} expiry times in the clear`);
  if (hasClearMeta(source)) throw refused('a meta row in the clear');
  if (cleartextLeft) throw refused('free pages that may hold something in the clear');
}

/**
 * What a store is checked for as it is opened.
 * @throws RAFTSEAL_KV_STORE_SEALED_ONLY, fatal RAFTSEAL_KV_CLEARTEXT_REFUSED
 */
export function checkSealedOnly(
  source: RowSource,
  meta: Pick<StoreMeta, 'sealedOnly' | 'cleartextLeft'>,
  isSealedOnly: boolean,
): void {
  if (isSealedOnly) {
    checkNothingClear(source, meta.cleartextLeft);
    return;
  }
  if (!meta.sealedOnly) return;
  throw new RaftsealError(
    'RAFTSEAL_KV_STORE_SEALED_ONLY',
    'the store is sealed-only, and was opened as if it might hold something in the clear: the key ' +
      'state that it was opened with is an older copy',
  );
}

function refused(found: string): RaftsealError {
  return fatalError(
    'RAFTSEAL_KV_CLEARTEXT_REFUSED',
    `the store was expected to hold nothing in the clear, since the cluster is sealed-only; found ` +
      `${found}: it was added by something other than this node, or the file is an older copy; ` +
      'rebuild the node',
  );
}
