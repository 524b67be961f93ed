/**
 * Shards that hold strings in memory and apply log commands as a shard group would: all that was
 * proposed in a turn of the event loop is applied together, later, in order. Log commands are read
 * with a decoder of their documented format, not with the one of the store.
 */
import {
  type ByteString,
  errorReply,
  nullArrayReply,
  okReply,
  RaftsealError,
  type Reply,
} from '@raftseal/interface';
import { commandTable, type ScanOptions, type ScanPage } from '@raftseal/kv';
import type { Keyspace, ProposalDone, ReadConfirmed, Shard } from '../../src/redis/index.ts';

const TRANSACTION = 0xf0;
const names = new Map([...commandTable.values()].map(({ opcode, name }) => [opcode, name]));

interface Value {
  readonly text: ByteString;
  readonly version: bigint;
}

/** Reads big-endian fields one after the other. */
class Fields {
  #at = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#at++);
  }

  u32(): number {
    this.#at += 4;
    return this.#bytes.readUInt32BE(this.#at - 4);
  }

  u64(): bigint {
    this.#at += 8;
    return this.#bytes.readBigUInt64BE(this.#at - 8);
  }

  bytes(): Buffer {
    const length = this.u32();
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}

export class MemoryShard implements Shard {
  readonly shardId: number;
  isServing = true;
  isHalted = false;
  pressure = false;
  /** Every proposal and query is refused with it. */
  refusal: RaftsealError | undefined;
  /** What queries throw. */
  fault: Error | undefined;
  /** Proposals gather, unanswered, while true. */
  held = false;
  /** Reads wait for it. */
  confirmRead?: (done: ReadConfirmed) => void;
  /** The same shard on other nodes; they apply what this one does. */
  followers: readonly MemoryShard[] = [];
  /** What the leader applies gathers, unapplied, while true. */
  lags = false;
  /** Lengths of the batches that were applied. */
  readonly batches: number[] = [];

  readonly #values = new Map<ByteString, Value>();
  #index = 0n;
  #proposed: { command: Buffer; done: ProposalDone }[] = [];
  #scheduled = false;
  #unapplied: Buffer[] = [];

  constructor(shardId: number) {
    this.shardId = shardId;
  }

  propose(command: Buffer, done: ProposalDone): void {
    this.#proposed.push({ command: Buffer.from(command), done });
    this.#schedule();
  }

  /** Proposals that were not applied yet. */
  get waiting(): number {
    return this.#proposed.length;
  }

  /** Applies what gathered while `held`. */
  release(): void {
    this.held = false;
    this.#schedule();
  }

  /** Applies what a leader has applied. */
  follow(command: Buffer): void {
    this.#unapplied.push(command);
    if (!this.lags) this.catchUp();
  }

  catchUp(): void {
    for (const command of this.#unapplied.splice(0)) this.#run(command);
  }

  query(args: readonly ByteString[], _nowMs: number): Reply {
    if (this.fault !== undefined) throw this.fault;
    if (this.refusal !== undefined) throw this.refusal;
    this.#checkServing();
    return this.#read(args);
  }

  queryStale(args: readonly ByteString[], _nowMs: number): Reply {
    return this.#read(args);
  }

  versionOf(key: ByteString, _nowMs: number): bigint {
    this.#checkServing();
    return this.#versionOf(key);
  }

  #versionOf(key: ByteString): bigint {
    return this.#values.get(key)?.version ?? 0n;
  }

  scan(cursor: bigint, { count }: ScanOptions, _nowMs: number): ScanPage {
    this.#checkServing();
    const keys = [...this.#values.keys()];
    const next = cursor + BigInt(count);
    return {
      cursor: next < keys.length ? next : 0n,
      keys: keys.slice(Number(cursor), Number(next)),
    };
  }

  keys(pattern: ByteString, _nowMs: number): ByteString[] {
    this.#checkServing();
    return [...this.#values.keys()].filter((key) => pattern === '*' || pattern === key);
  }

  size(): number {
    this.#checkServing();
    return this.#values.size;
  }

  randomKey(_nowMs: number): ByteString | null {
    this.#checkServing();
    return this.#values.keys().next().value ?? null;
  }

  #schedule(): void {
    if (this.#scheduled || this.held) return;
    this.#scheduled = true;
    setImmediate(() => this.#apply());
  }

  #apply(): void {
    this.#scheduled = false;
    if (this.held) return;
    const batch = this.#proposed;
    this.#proposed = [];
    this.batches.push(batch.length);
    for (const { command, done } of batch) {
      if (this.refusal !== undefined) done(this.refusal, null);
      else if (!this.isServing) done(this.#notLeader(), null);
      else {
        const reply = this.#run(command);
        for (const follower of this.followers) follower.follow(command);
        done(null, reply);
      }
    }
  }

  #checkServing(): void {
    if (!this.isServing) throw this.#notLeader();
  }

  #notLeader(): RaftsealError {
    const text = `this node does not lead shard ${this.shardId}`;
    return new RaftsealError('RAFTSEAL_SHARD_GROUP_NOT_LEADER', text);
  }

  #run(command: Buffer): Reply {
    this.#index++;
    const fields = new Fields(command);
    const opcode = fields.u8();
    if (opcode !== TRANSACTION) return this.#write(argsOf(opcode, fields));
    const watched = Array.from({ length: fields.u32() }, () => {
      return { key: fields.bytes().toString('latin1'), version: fields.u64() };
    });
    const commands = Array.from({ length: fields.u32() }, () => {
      const nested = new Fields(fields.bytes());
      return argsOf(nested.u8(), nested);
    });
    if (watched.some(({ key, version }) => this.#versionOf(key) !== version)) {
      return nullArrayReply;
    }
    return commands.map((args) => this.#write(args));
  }

  #read([name = '', key = '', ...more]: readonly ByteString[]): Reply {
    switch (name) {
      case 'get':
        return this.#values.get(key)?.text ?? null;
      case 'mget':
        return [key, ...more].map((each) => this.#values.get(each)?.text ?? null);
      case 'exists':
        return [key, ...more].filter((each) => this.#values.has(each)).length;
      case 'strlen':
        return this.#values.get(key)?.text.length ?? 0;
      default:
        return errorReply(`ERR the memory shard has no ${name}`);
    }
  }

  #write(args: readonly ByteString[]): Reply {
    const [name = '', key = '', value = ''] = args;
    switch (name) {
      case 'set':
        this.#set(key, value);
        return okReply;
      case 'getset': {
        const old = this.#values.get(key)?.text ?? null;
        this.#set(key, value);
        return old;
      }
      case 'append':
        return this.#set(key, (this.#values.get(key)?.text ?? '') + value).length;
      case 'incr': {
        const next = Number(this.#values.get(key)?.text ?? 0) + 1;
        if (!Number.isSafeInteger(next)) {
          return errorReply('ERR value is not an integer or out of range');
        }
        this.#set(key, `${next}`);
        return next;
      }
      case 'mset':
        for (let i = 1; i < args.length; i += 2) this.#set(args[i] ?? '', args[i + 1] ?? '');
        return okReply;
      case 'del':
        return args.slice(1).filter((each) => this.#values.delete(each)).length;
      case 'flushall':
      case 'flushdb':
        this.#values.clear();
        return okReply;
      default:
        return this.#read(args);
    }
  }

  #set(key: ByteString, text: ByteString): ByteString {
    this.#values.set(key, { text, version: this.#index });
    return text;
  }
}

function argsOf(opcode: number, fields: Fields): ByteString[] {
  const args = Array.from({ length: fields.u32() }, () => fields.bytes().toString('latin1'));
  return [names.get(opcode) ?? '?', ...args];
}

export class MemoryKeyspace implements Keyspace {
  readonly shards: readonly MemoryShard[];

  constructor(shardCount = 1) {
    this.shards = Array.from({ length: shardCount }, (_, shardId) => new MemoryShard(shardId));
  }

  shardOf(slot: number): MemoryShard {
    return this.shard(slot % this.shards.length);
  }

  shard(index: number): MemoryShard {
    const shard = this.shards[index];
    if (shard === undefined) throw new RangeError(`there is no shard ${index}`);
    return shard;
  }

  nowMs(): number {
    return Date.now();
  }
}
