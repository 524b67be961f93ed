/** The logs of a cluster in the hands of somebody who can write to etcd. */
import type { Node } from '../../src/node.ts';
import type { WritingClient } from '../acceptance/writers.ts';
import { keyIn } from './cluster-steps.ts';
import { type EtcdByHand, entryName, type StoredEntry } from './etcd-by-hand.ts';

/** The log of one shard. */
export class TamperedLog {
  readonly shardId: number;
  readonly hand: EtcdByHand;

  constructor(hand: EtcdByHand, shardId: number) {
    this.hand = hand;
    this.shardId = shardId;
  }

  entry(index: bigint): Promise<StoredEntry> {
    return this.hand.entry(this.shardId, index);
  }

  /** With the checksum that is right. */
  put(index: bigint, { payload, term }: Pick<StoredEntry, 'payload' | 'term'>): Promise<void> {
    return this.hand.putEntry({ shardId: this.shardId, index, payload, term });
  }

  async bytes(index: bigint): Promise<Buffer> {
    const found = await this.hand.get(entryName(this.shardId, index));
    if (found) return found;
    throw new Error(`there is no entry ${index}`);
  }

  putBytes(index: bigint, bytes: Uint8Array): Promise<void> {
    return this.hand.put(entryName(this.shardId, index), bytes);
  }

  remove(index: bigint): Promise<void> {
    return this.hand.remove(entryName(this.shardId, index));
  }

  async edit(index: bigint, change: (payload: Buffer) => void): Promise<void> {
    const entry = await this.entry(index);
    change(entry.payload);
    await this.put(index, entry);
  }
}

export function flipLast(bytes: Buffer): void {
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
}

/** Writes entries to each shard, one after the other, each with one command. */
export async function writeSlowly(
  client: WritingClient,
  { shardCount, count }: { readonly shardCount: number; readonly count: number },
): Promise<void> {
  const keys = Array.from({ length: shardCount }, (_, shardId) => keyIn(shardId, shardCount));
  for (let n = 0; n < count; n++) {
    await Promise.all(keys.map((key) => client.set(key, `value ${n}`)));
  }
}

/** By shard. */
export function haltCodes(node: Node): (string | null)[] {
  return node.admin.status().shards.map(({ haltCode }) => haltCode);
}
