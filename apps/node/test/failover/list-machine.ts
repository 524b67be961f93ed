/**
 * A state machine whose results tell the order of writes: a list per key. A command is `key=value`;
 * its result is where the value stands in the key's list.
 */
import type { CommandBatch, StateMachine } from '@raftseal/interface';

export class ListMachine implements StateMachine<number> {
  readonly lists: Map<string, string[]> = new Map();
  /** A process starts with nothing and replays its whole log. */
  readonly durableIndex = 0n;
  readonly durableTimestampMs = 0;

  apply(batch: CommandBatch): number[] {
    const positions: number[] = [];
    while (batch.next()) {
      positions.push(this.#append(batch.bytes.toString('utf8', batch.start, batch.end)));
    }
    return positions;
  }

  skip(): void {}

  async flush(): Promise<bigint> {
    return this.durableIndex;
  }

  #append(command: string): number {
    const [key = '', value = ''] = command.split('=');
    const list = this.lists.get(key) ?? [];
    this.lists.set(key, list);
    return list.push(value) - 1;
  }
}
