/**
 * What clients ask for: registers, counters and hashes on every shard, and transactions over them.
 * Values are unique, so that a reply tells which write it saw. Keys are used for a while and then
 * left behind: short histories are decided fast, and every write without an answer makes the
 * history of its keys harder.
 */
import type { Command } from '../linearizability/operation.ts';
import type { Random } from '../random.ts';
import type { Outcome } from './outcome.ts';
import type { Request } from './recorder.ts';

export interface WorkloadOptions {
  readonly shardCount: number;
  /** The shard that a hash tag belongs to. */
  readonly shardOf: (tag: string) => number;
  readonly random: Random;
}

const OPERATIONS_PER_TAG = 90;
const UNKNOWN_PER_TAG_MAX = 4;

const fields = ['f0', 'f1', 'f2'] as const;

interface Tag {
  readonly name: string;
  operations: number;
  unknown: number;
}

/** An operation, with the tag that it counts for. */
export interface Assignment extends Request {
  readonly tag: string;
}

export class Workload {
  readonly #options: WorkloadOptions;
  readonly #tags: Map<number, Tag> = new Map();
  readonly #everyTag: Assignment[] = [];
  #tagsMade = 0;
  #values = 0;

  constructor(options: WorkloadOptions) {
    this.#options = options;
  }

  next(): Assignment {
    const { random, shardCount } = this.#options;
    const shardId = random.below(shardCount);
    const tag = this.#tagOf(shardId);
    tag.operations++;
    return { shardId, tag: tag.name, commands: this.#commands(`{${tag.name}}`) };
  }

  /** Tells what came of an operation. */
  ended({ shardId, tag }: Assignment, { outcome }: Outcome): void {
    const current = this.#tags.get(shardId);
    if (current?.name === tag && outcome === 'unknown') current.unknown++;
  }

  /** A read of a key that is in use now; undefined before any is. */
  currentRead(): (Request & { readonly commands: readonly [Command] }) | undefined {
    const { random, shardCount } = this.#options;
    const shardId = random.below(shardCount);
    const name = this.#tags.get(shardId)?.name;
    if (name === undefined) return undefined;
    const tag = `{${name}}`;
    const command = random.pick<Command>([
      ['GET', `${tag}r`],
      ['GET', `${tag}n`],
      ['HGET', `${tag}h`, random.pick(fields)],
    ]);
    return { shardId, commands: [command] };
  }

  /** Reads of every key that was ever used: what was lost since it was last read shows in them. */
  everyRead(): readonly Assignment[] {
    return [...this.#everyTag];
  }

  #tagOf(shardId: number): Tag {
    const current = this.#tags.get(shardId);
    const isWornOut =
      current === undefined ||
      current.operations >= OPERATIONS_PER_TAG ||
      current.unknown >= UNKNOWN_PER_TAG_MAX;
    if (!isWornOut) return current;
    const fresh = { name: this.#freshTag(shardId), operations: 0, unknown: 0 };
    this.#tags.set(shardId, fresh);
    this.#everyTag.push({ shardId, tag: fresh.name, commands: readsOf(`{${fresh.name}}`, fields) });
    return fresh;
  }

  #freshTag(shardId: number): string {
    for (;;) {
      const name = `t${this.#tagsMade++}`;
      if (this.#options.shardOf(name) === shardId) return name;
    }
  }

  #commands(tag: string): readonly Command[] {
    const { random } = this.#options;
    const value = `v${this.#values++}`;
    const [register, counter, hash] = [`${tag}r`, `${tag}n`, `${tag}h`];
    const field = random.pick(fields);
    const share = random.below(100);
    if (share < 22) return [['GET', register]];
    if (share < 42) return [['SET', register, value]];
    if (share < 46) return [['SETNX', register, value]];
    if (share < 50) return [['GETSET', register, value]];
    if (share < 54) return [['APPEND', register, `.${value}`]];
    if (share < 57) return [['DEL', register]];
    if (share < 67) return [['INCR', counter]];
    if (share < 73) return [['GET', counter]];
    if (share < 81) return [['HSET', hash, field, value]];
    if (share < 89) return [['HGET', hash, field]];
    if (share < 91) return [['HDEL', hash, field]];
    const reads = readsOf(tag, [field]);
    if (share < 94) return reads;
    return [...reads, ['SET', register, value], ['INCR', counter], ['HSET', hash, field, value]];
  }
}

function readsOf(tag: string, of: readonly string[]): readonly Command[] {
  const reads = of.map((field): Command => ['HGET', `${tag}h`, field]);
  return [['GET', `${tag}r`], ['GET', `${tag}n`], ...reads];
}
