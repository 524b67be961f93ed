/**
 * Commands as log entries carry them. All integers are big-endian; `bytes` is `length u32 | bytes`.
 *
 * | first byte | then |
 * | --- | --- |
 * | 1..239, an opcode | `count u32`, so many `bytes`: the arguments without the name |
 * | 0xf0, transaction | `count u32`, so many watched keys (`bytes`, `version u64`), `count u32`, so many commands, each as `bytes` |
 * | 0xf1, expiry | `count u32`, so many (`expireAtMs u64`, `bytes`): keys to delete if they still expire at that time |
 *
 * The decoder trusts nothing: every length is checked against what is left before it is used, and
 * nothing may follow the last field.
 */
import { type ByteString, fatalError } from '@raftseal/interface';
import { commandTable } from './command-table.ts';

export const TRANSACTION = 0xf0;
export const EXPIRY = 0xf1;

/** A key and the version it must still have: what {@link encodeTransaction} is conditional on. */
export interface WatchedKey {
  readonly key: ByteString;
  /** What `versionOf` answered; 0n for an absent key. */
  readonly version: bigint;
}

export interface TransactionRequest {
  /** The commands between MULTI and EXEC, their names first. */
  readonly commands: readonly (readonly ByteString[])[];
  readonly watched: readonly WatchedKey[];
}

/** A key to delete if its expiry is still the one given. */
export interface ExpiredKey {
  readonly key: ByteString;
  readonly expireAtMs: number;
}

const FIELD_BYTES = 4;

function commandBytes(args: readonly ByteString[]): number {
  let total = 1 + FIELD_BYTES;
  for (let i = 1; i < args.length; i++) total += FIELD_BYTES + (args[i] ?? '').length;
  return total;
}

function writeBytes(target: Buffer, offset: number, text: ByteString): number {
  target.writeUInt32BE(text.length, offset);
  target.write(text, offset + FIELD_BYTES, 'latin1');
  return offset + FIELD_BYTES + text.length;
}

function writeCommand(target: Buffer, offset: number, args: readonly ByteString[]): number {
  const name = args[0] ?? '';
  const spec = commandTable.get(name) ?? commandTable.get(name.toLowerCase());
  if (spec === undefined) throw new TypeError('not a data command: look it up in commandTable');
  target[offset] = spec.opcode;
  target.writeUInt32BE(args.length - 1, offset + 1);
  let position = offset + 1 + FIELD_BYTES;
  for (let i = 1; i < args.length; i++) position = writeBytes(target, position, args[i] ?? '');
  return position;
}

/**
 * One command as a log command.
 * @param args the name first, in any case; the number of arguments is checked when it is applied.
 * @returns a new buffer, the caller's.
 * @throws TypeError where the name is not in the command table.
 */
export function encodeCommand(args: readonly ByteString[]): Buffer {
  const target = Buffer.allocUnsafe(commandBytes(args));
  writeCommand(target, 0, args);
  return target;
}

/**
 * A MULTI block as one log command: all of its commands are applied at once, or none where a
 * watched key has another version. Its result is the array of replies, or the null array.
 * @throws TypeError where a name is not in the command table.
 */
export function encodeTransaction(request: TransactionRequest): Buffer {
  let total = 1 + 2 * FIELD_BYTES;
  for (const { key } of request.watched) total += FIELD_BYTES + key.length + 8;
  for (const args of request.commands) total += FIELD_BYTES + commandBytes(args);
  const target = Buffer.allocUnsafe(total);
  target[0] = TRANSACTION;
  let offset = target.writeUInt32BE(request.watched.length, 1);
  for (const { key, version } of request.watched) {
    offset = writeBytes(target, offset, key);
    offset = target.writeBigUInt64BE(version, offset);
  }
  offset = target.writeUInt32BE(request.commands.length, offset);
  for (const args of request.commands) {
    target.writeUInt32BE(commandBytes(args), offset);
    offset = writeCommand(target, offset + FIELD_BYTES, args);
  }
  return target;
}

/** The conditional deletion of keys whose time has come, as one log command. */
export function encodeExpiry(keys: readonly ExpiredKey[]): Buffer {
  let total = 1 + FIELD_BYTES;
  for (const { key } of keys) total += 8 + FIELD_BYTES + key.length;
  const target = Buffer.allocUnsafe(total);
  target[0] = EXPIRY;
  let offset = target.writeUInt32BE(keys.length, 1);
  for (const { key, expireAtMs } of keys) {
    offset = target.writeBigUInt64BE(BigInt(expireAtMs), offset);
    offset = writeBytes(target, offset, key);
  }
  return target;
}

/** A cursor over one log command; throws RAFTSEAL_KV_COMMAND_MALFORMED (fatal) at its edges. */
export class CommandReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #position: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#position = start;
    this.#end = end;
  }

  /** The byte that says what follows. */
  opcode(): number {
    return this.#bytes[this.#take(1)] ?? 0;
  }

  count(): number {
    return this.#bytes.readUInt32BE(this.#take(FIELD_BYTES));
  }

  u64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8));
  }

  bytes(): ByteString {
    const length = this.count();
    const start = this.#take(length);
    return this.#bytes.toString('latin1', start, start + length);
  }

  /** Passes over a field of bytes. */
  skip(): void {
    this.#take(this.count());
  }

  /** Another reader at the same place, for looking ahead. */
  fork(): CommandReader {
    return new CommandReader(this.#bytes, this.#position, this.#end);
  }

  /** A reader of the command nested at the cursor. */
  nested(): CommandReader {
    const length = this.count();
    const start = this.#take(length);
    return new CommandReader(this.#bytes, start, start + length);
  }

  /** A count of items that take at least `itemBytesMin` each, so that it can be allocated for. */
  countOf(itemBytesMin: number): number {
    const count = this.count();
    if (count * itemBytesMin > this.#end - this.#position) throw malformed();
    return count;
  }

  /** The arguments of a command behind its opcode, `name` in front. */
  args(name: string): ByteString[] {
    const count = this.countOf(FIELD_BYTES);
    const args = [name];
    for (let i = 0; i < count; i++) args.push(this.bytes());
    this.finish();
    return args;
  }

  /** Checks that nothing is left. */
  finish(): void {
    if (this.#position !== this.#end) throw malformed();
  }

  #take(length: number): number {
    const start = this.#position;
    if (length > this.#end - start) throw malformed();
    this.#position = start + length;
    return start;
  }
}

export function malformed(): Error {
  return fatalError(
    'RAFTSEAL_KV_COMMAND_MALFORMED',
    'a log entry does not hold a command of this version: the log was written by another version, ' +
      'or is damaged in a way its seal does not show; do not skip the entry, restore the shard',
  );
}
