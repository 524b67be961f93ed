/**
 * Brings rows into a node that leads all of its shards, by the way of any write: proposed, sealed,
 * agreed, applied. So nothing that was sealed before is used again: neither key, nor nonce, nor
 * envelope, and the number of shards and the place of the logs may be others.
 *
 * A row that is larger than what an entry takes comes in parts. Its expiry is set with the last of
 * them, since a key that has expired is absent to the parts that follow.
 */
import { assert, type ByteString, RaftsealError, type Reply } from '@raftseal/interface';
import { encodeCommand, type KeyRecord, slotOf } from '@raftseal/kv';
import { shardOfSlot } from '../keyspace-of-shards.ts';
import type { NodeShard } from '../node-shard.ts';

/** What one command carries, about: well below what any engine takes in one entry. */
const PART_BYTES = 256 * 1024;
/** What is under way at a time. */
const UNDER_WAY_BYTES_MAX = 16 * 1024 * 1024;
const INT64_MAX = 2n ** 63n - 1n;

export class RowImport {
  readonly #shards: readonly NodeShard[];
  #underWayBytes = 0;
  #failure: unknown;
  #changed: (() => void) | undefined;

  constructor(shards: readonly NodeShard[]) {
    this.#shards = shards;
  }

  /** Proposes a row; resolves when there is room for the next. @throws what an earlier one failed with */
  async add(record: KeyRecord): Promise<void> {
    const shard = this.#shards[shardOfSlot(slotOf(record.key), this.#shards.length)];
    assert(shard, 'every slot has a shard');
    for (const args of commandsOf(record)) {
      if (this.#underWayBytes > UNDER_WAY_BYTES_MAX) await this.#until(UNDER_WAY_BYTES_MAX / 2);
      this.#check();
      const command = encodeCommand(args);
      this.#underWayBytes += command.length;
      shard.propose(command, (error, reply) => {
        this.#underWayBytes -= command.length;
        this.#failure ??= error ?? refusal(reply);
        this.#changed?.();
      });
    }
  }

  /** Resolves once every row is applied. @throws what one failed with */
  finish(): Promise<void> {
    return this.#until(0);
  }

  async #until(bytes: number): Promise<void> {
    while (this.#underWayBytes > bytes) {
      this.#check();
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
    this.#check();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** The commands that make a row, where its key is absent. */
function* commandsOf({ key, value, expireAtMs }: KeyRecord): Generator<readonly ByteString[]> {
  const expireAt = [INT64_MAX, BigInt(expireAtMs)].reduce((a, b) => (a < b ? a : b)).toString();
  if (typeof value === 'string') {
    const isWhole = value.length <= PART_BYTES;
    const withExpiry = isWhole && expireAtMs !== 0 ? ['pxat', expireAt] : [];
    yield ['set', key, value.slice(0, PART_BYTES), ...withExpiry];
    if (isWhole) return;
    for (let from = PART_BYTES; from < value.length; from += PART_BYTES) {
      yield ['append', key, value.slice(from, from + PART_BYTES)];
    }
  } else {
    yield* fieldCommands(key, value.entries());
  }
  if (expireAtMs !== 0) yield ['pexpireat', key, expireAt];
}

function* fieldCommands(
  key: ByteString,
  fields: Iterable<readonly [ByteString, ByteString]>,
): Generator<readonly ByteString[]> {
  let args: ByteString[] = ['hset', key];
  let bytes = 0;
  for (const [field, value] of fields) {
    if (bytes > 0 && bytes + field.length + value.length > PART_BYTES) {
      yield args;
      args = ['hset', key];
      bytes = 0;
    }
    args.push(field, value);
    bytes += field.length + value.length;
  }
  yield args;
}

/** What a command was answered that was not carried out; nothing of what it carried. */
function refusal(reply: Reply): RaftsealError | undefined {
  if (typeof reply !== 'object' || reply === null || !('kind' in reply)) return undefined;
  if (reply.kind !== 'error') return undefined;
  const [word = ''] = reply.text.split(' ');
  return new RaftsealError(
    'RAFTSEAL_BACKUP_RESTORE_DIFFERS',
    `a row of the backup was expected to be taken, and was refused with ${word}: restore again; ` +
      'nothing has taken the place of the data directory',
  );
}
