/** Documents as they are at one moment, read without a session: for tools, and before a start. */
import { EtcdClient } from './client.ts';
import { type Document, documentOf } from './documents.ts';
import { raftsealErrorOf } from './errors.ts';
import { Keys } from './keys.ts';
import { listRange } from './listing.ts';
import { checkAccess, checkPrefix, type EtcdAccess } from './options.ts';

const PATIENCE_MS = 10_000;

/**
 * All documents whose names begin so, in the order of their names; they may lag behind a write that
 * is just being made. Changes nothing.
 * @throws RAFTSEAL_ENGINE_UNAVAILABLE, RAFTSEAL_ENGINE_ACCESS_DENIED
 */
export async function readEtcdDocuments(
  access: EtcdAccess,
  prefix: string,
  under: string,
): Promise<Document[]> {
  const keys = new Keys(checkPrefix(prefix));
  const client = new EtcdClient(checkAccess(access), () => {});
  try {
    const { kvs } = await listRange(client, keys.under(under), { patienceMs: PATIENCE_MS });
    return kvs.map((kv) => documentOf(keys, kv));
  } catch (error) {
    throw raftsealErrorOf('documents cannot be read', error);
  } finally {
    client.close();
  }
}
