/**
 * The smallest state machine whose results tell the order of writes: a list per key. A command is
 * `key=value`; its result is where the value stands in the key's list, so one answer says how many
 * writes to the key came before.
 */
import {
  type CommandBatch,
  fatalError,
  RaftsealError,
  type StateMachine,
} from '@raftseal/interface';

export interface Appended {
  readonly index: bigint;
  /** Position in the list of the key, from 0. */
  readonly position: number;
}

/** A command that the machine refuses before it is proposed. */
export const REFUSED = 'refused=command';

/** What survives the process that owns the machine. */
export class ListDisk {
  index = 0n;
  timestampMs = 0;
  lists: ReadonlyMap<string, readonly string[]> = new Map();
}

export class ListMachine implements StateMachine<Appended> {
  readonly lists: Map<string, string[]>;
  /** By entry, in the order of apply. */
  readonly batches: { index: bigint; timestampMs: number; commands: string[] }[] = [];
  readonly skipped: bigint[] = [];
  /** Takes the last result away from an entry, as a faulty state machine would. */
  losesResults = false;
  readonly #disk: ListDisk;
  #appliedIndex: bigint;
  #timestampMs: number;

  constructor(disk: ListDisk = new ListDisk()) {
    this.#disk = disk;
    this.#appliedIndex = disk.index;
    this.#timestampMs = disk.timestampMs;
    this.lists = new Map([...disk.lists].map(([key, values]) => [key, [...values]]));
  }

  get durableIndex(): bigint {
    return this.#disk.index;
  }

  get durableTimestampMs(): number {
    return this.#disk.timestampMs;
  }

  apply(batch: CommandBatch): Appended[] {
    const { index, timestampMs } = batch;
    const commands: string[] = [];
    while (batch.next()) commands.push(batch.bytes.toString('utf8', batch.start, batch.end));
    if (commands.includes('no command')) {
      throw fatalError('RAFTSEAL_KV_COMMAND_MALFORMED', `entry ${index} holds no command`);
    }
    this.#appliedIndex = index;
    this.#timestampMs = timestampMs;
    this.batches.push({ index, timestampMs, commands });
    const results = commands.map((command) => ({ index, position: this.#append(command) }));
    return this.losesResults ? results.slice(1) : results;
  }

  refusal(command: Uint8Array): RaftsealError | undefined {
    if (Buffer.from(command).toString() !== REFUSED) return undefined;
    return new RaftsealError('RAFTSEAL_KV_ROW_CORRUPT', 'the list of the key does not open');
  }

  skip(index: bigint): void {
    this.#appliedIndex = index;
    this.skipped.push(index);
  }

  async flush(): Promise<bigint> {
    this.#disk.index = this.#appliedIndex;
    this.#disk.timestampMs = this.#timestampMs;
    this.#disk.lists = new Map([...this.lists].map(([key, values]) => [key, [...values]]));
    return this.#disk.index;
  }

  #append(command: string): number {
    const [key = '', value = ''] = command.split('=');
    const list = this.lists.get(key) ?? [];
    this.lists.set(key, list);
    return list.push(value) - 1;
  }
}
