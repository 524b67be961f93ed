/** Log entries made by hand: encoded commands in one buffer, as a shard group hands them over. */
import type { ByteString, CommandBatch } from '@raftseal/interface';
import { encodeCommand } from '../../src/index.ts';

export class TestBatch implements CommandBatch {
  readonly index: bigint;
  readonly timestampMs: number;
  readonly count: number;
  readonly bytes: Buffer;
  start = 0;
  end = 0;
  readonly #lengths: number[];

  constructor(index: bigint, timestampMs: number, commands: readonly Buffer[]) {
    this.index = index;
    this.timestampMs = timestampMs;
    this.count = commands.length;
    this.bytes = Buffer.concat(commands);
    this.#lengths = commands.map((command) => command.length);
  }

  next(): boolean {
    const length = this.#lengths.shift();
    if (length === undefined) return false;
    this.start = this.end;
    this.end = this.start + length;
    return true;
  }
}

/** A batch of plain commands, each as its words. */
export function batchOf(
  index: bigint,
  timestampMs: number,
  ...commands: readonly (readonly ByteString[])[]
): TestBatch {
  return new TestBatch(index, timestampMs, commands.map(encodeCommand));
}
