/** A prefix as a whole: for who begins a new cluster under it, or ends what was begun there. */
import { EtcdClient } from './client.ts';
import { raftsealErrorOf } from './errors.ts';
import { Keys } from './keys.ts';
import { checkAccess, checkPrefix, type EtcdAccess } from './options.ts';
import { remove } from './transaction.ts';

const PATIENCE_MS = 10_000;

/**
 * Whether nothing at all stands under a prefix. It may lag behind a write that is just being made.
 * @throws RAFTSEAL_ENGINE_UNAVAILABLE, RAFTSEAL_ENGINE_ACCESS_DENIED
 */
export function isEtcdPrefixEmpty(access: EtcdAccess, prefix: string): Promise<boolean> {
  return withPrefix({ access, prefix, what: 'the prefix cannot be read' }, async (client, keys) => {
    const request = { ...keys.under(''), limit: 1, keysOnly: true };
    const { kvs } = await client.persist('KV.Range', request, { patienceMs: PATIENCE_MS });
    return kvs.length === 0;
  });
}

/**
 * Removes everything that stands under a prefix. What a node that runs there does next is not
 * defined: the caller knows that there is none.
 * @throws RAFTSEAL_ENGINE_UNAVAILABLE, RAFTSEAL_ENGINE_ACCESS_DENIED
 */
export async function clearEtcdPrefix(access: EtcdAccess, prefix: string): Promise<void> {
  const what = 'it is not known whether the prefix was cleared';
  await withPrefix({ access, prefix, what }, async (client, keys) => {
    const { key, rangeEnd } = keys.under('');
    const request = { success: [remove(key, rangeEnd)] };
    await client.persist('KV.Txn', request, { patienceMs: PATIENCE_MS });
  });
}

async function withPrefix<T>(
  parts: { readonly access: EtcdAccess; readonly prefix: string; readonly what: string },
  act: (client: EtcdClient, keys: Keys) => Promise<T>,
): Promise<T> {
  const keys = new Keys(checkPrefix(parts.prefix));
  const client = new EtcdClient(checkAccess(parts.access), () => {});
  try {
    return await act(client, keys);
  } catch (error) {
    throw raftsealErrorOf(parts.what, error);
  } finally {
    client.close();
  }
}
