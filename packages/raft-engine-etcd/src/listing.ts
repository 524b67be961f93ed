/** Everything in a range of keys, as it was at one revision of etcd. */
import type { EtcdClient, PersistOptions } from './client.ts';
import type { KeyValue } from './messages.ts';

export interface KeyRange {
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
}

export interface Listing {
  readonly kvs: readonly KeyValue[];
  readonly revision: bigint;
}

const PAGE_KEYS = 500;

/** @throws what `EtcdClient.persist` throws. */
export async function listRange(
  client: EtcdClient,
  range: KeyRange,
  options: PersistOptions & { readonly revision?: bigint; readonly keysOnly?: boolean },
): Promise<Listing> {
  const kvs: KeyValue[] = [];
  let revision = options.revision?.toString();
  let { key } = range;
  for (;;) {
    const at = revision === undefined ? {} : { revision };
    const request = { ...range, ...at, key, limit: PAGE_KEYS, keysOnly: options.keysOnly ?? false };
    const page = await client.persist('KV.Range', request, options);
    kvs.push(...page.kvs);
    revision ??= page.header.revision;
    const last = page.kvs.at(-1);
    if (!page.more || last === undefined) return { kvs, revision: BigInt(revision) };
    key = Buffer.concat([last.key, Buffer.of(0)]);
  }
}
