/**
 * Where everything stands in etcd, under one prefix:
 *
 * | key | value |
 * | --- | --- |
 * | `logs/<shard>/<index, 16 hex digits>` | one entry (entry-codec.ts) |
 * | `floors/<shard>` | decimal index through which the log was truncated |
 * | `leaders/<shard>` | id of the node that leads; under the lease of its session |
 * | `nodes/<node>` | what a node says of itself while it lives; under the lease of its session |
 * | `processes/<node>` | random id of the process that last held the node's session |
 * | `writes/<node>` | random id of the last write of documents |
 * | `members/<node>` | the application's document on a member: `{"role":"voter"}` or `"learner"` |
 *
 * Any other name is a document of the application.
 */

const INDEX_DIGITS = 16;
const NAME_BYTES_MAX = 512;
const ownNames = ['logs', 'floors', 'leaders', 'nodes', 'processes', 'writes', 'sync'];

/** What follows the slash of a directory in the order of bytes. */
const AFTER_SLASH = '0';

export class Keys {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  entry(shardId: number, index: bigint): Buffer {
    return this.#key(`logs/${shardId}/${index.toString(16).padStart(INDEX_DIGITS, '0')}`);
  }

  /** First key after all entries of a shard. */
  entriesEnd(shardId: number): Buffer {
    return this.#key(`logs/${shardId}${AFTER_SLASH}`);
  }

  /** Undefined for a key that is not that of an entry. */
  indexOf(key: Buffer): bigint | undefined {
    const digits = key.subarray(key.lastIndexOf('/') + 1).toString('latin1');
    return /^[0-9a-f]{16}$/.test(digits) ? BigInt(`0x${digits}`) : undefined;
  }

  floor(shardId: number): Buffer {
    return this.#key(`floors/${shardId}`);
  }

  leader(shardId: number): Buffer {
    return this.#key(`leaders/${shardId}`);
  }

  node(nodeId: string): Buffer {
    return this.#key(`nodes/${nodeId}`);
  }

  process(nodeId: string): Buffer {
    return this.#key(`processes/${nodeId}`);
  }

  writes(nodeId: string): Buffer {
    return this.#key(`writes/${nodeId}`);
  }

  /** Hardly ever there: to delete it changes nothing, and is a write all the same. */
  get sync(): Buffer {
    return this.#key('sync');
  }

  document(name: string): Buffer {
    return this.#key(name);
  }

  /** Key and end of the range of all names that begin so. */
  under(names: string): { readonly key: Buffer; readonly rangeEnd: Buffer } {
    const key = this.#key(names);
    const rangeEnd = Buffer.from(key);
    // Keys are ASCII: the last byte can be one higher.
    rangeEnd.writeUInt8(rangeEnd.readUInt8(rangeEnd.length - 1) + 1, rangeEnd.length - 1);
    return { key, rangeEnd };
  }

  /** The name that stands after the prefix. */
  nameOf(key: Buffer): string {
    return key.subarray(this.#prefix.length + 1).toString('utf8');
  }

  #key(name: string): Buffer {
    return Buffer.from(`${this.#prefix}/${name}`);
  }
}

/** @throws TypeError for what cannot be the name of a document that the application writes. */
export function checkDocumentName(name: string): void {
  const isPlain = /^[\x21-\x7e]+$/.test(name) && name.length <= NAME_BYTES_MAX;
  const [first = ''] = name.split('/');
  if (isPlain && first !== '' && !name.endsWith('/') && !ownNames.includes(first)) return;
  throw new TypeError(
    `a document is named by up to ${NAME_BYTES_MAX} visible ASCII characters, neither begins nor ` +
      `ends with a slash, and is not one of the log's own (${ownNames.join(', ')})`,
  );
}
