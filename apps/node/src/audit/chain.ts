/** Follows the records of a trail line by line, and says where one is not the next of the chain. */
import {
  type AuditRecord,
  type ContinueRecord,
  decodeRecord,
  hashOf,
  NOTHING_BEFORE,
} from './record.ts';

export interface Link {
  /** Undefined for a line that is no record. */
  readonly record: AuditRecord | undefined;
  readonly hash: string;
  /** What is wrong with it, or with what it follows. */
  readonly problem: string | undefined;
}

export class Chain {
  /** Of the last record; 0 before the first. */
  sequence = 0;
  /** Of the last line. */
  headHash: string = NOTHING_BEFORE;
  nodeId: string | undefined;
  /** Hex; null while no record has named it. */
  clusterId: string | null = null;
  /** By shard: the last log entry that a record is about. */
  readonly recorded: Map<number, bigint> = new Map();
  /** By shard, ascending: every log entry that a line that was followed is about. */
  readonly entries: Map<number, bigint[]> = new Map();
  #isBroken = false;

  /**
   * Takes the next line.
   * @param opensAt where it is the first of a file: the sequence that the file is named after. The
   *   first line of all may continue what earlier files added up to
   */
  follow(line: Uint8Array, opensAt?: number): Link {
    const record = decodeRecord(line);
    const hash = hashOf(line);
    const problem = record ? this.#problemOf(record, opensAt) : 'is no record';
    this.headHash = hash;
    this.sequence = record?.sequence ?? this.sequence + 1;
    // What a line that is no record hid shows in that line, and not again in the next one.
    this.#isBroken = record === undefined;
    if (record) this.#learn(record);
    return { record, hash, problem };
  }

  #problemOf(record: AuditRecord, opensAt: number | undefined): string | undefined {
    const { kind, sequence } = record;
    const isOpening = kind === 'begin' || kind === 'continue';
    if (isOpening !== (opensAt !== undefined)) {
      return isOpening ? `is of kind ${kind}, which opens a file` : `is of kind ${kind}, and first`;
    }
    if (opensAt !== undefined && sequence !== opensAt) {
      return `has sequence ${sequence} in a file that is named after ${opensAt}`;
    }
    if ((kind === 'begin') !== (sequence === 1)) return `has sequence ${sequence} and kind ${kind}`;
    return this.sequence === 0 && isOpening ? undefined : this.#linkProblem(record);
  }

  #linkProblem(record: AuditRecord): string | undefined {
    const expected = this.sequence + 1;
    if (record.sequence !== expected) {
      return `has sequence ${record.sequence} where ${expected} was expected`;
    }
    if (record.before !== this.headHash && !this.#isBroken) {
      return 'follows another record than the one before it';
    }
    if (record.kind === 'continue') return this.#continueProblem(record);
    if (record.kind !== 'entry' && record.kind !== 'gap') return undefined;
    const known = this.recorded.get(record.shardId) ?? 0n;
    const isAhead =
      record.kind === 'gap' ? BigInt(record.after) === known : BigInt(record.index) > known;
    return isAhead ? undefined : `goes back behind entry ${known} of shard ${record.shardId}`;
  }

  #continueProblem({ nodeId, clusterId, recorded }: ContinueRecord): string | undefined {
    const isSame =
      nodeId === this.nodeId &&
      clusterId === this.clusterId &&
      JSON.stringify(recorded) === JSON.stringify(recordedFields(this.recorded));
    return isSame ? undefined : 'is not what the files before it add up to';
  }

  #learn(record: AuditRecord): void {
    if (record.kind === 'begin' || record.kind === 'continue') {
      this.nodeId = record.nodeId;
      this.clusterId = record.clusterId;
    }
    if (record.kind === 'continue') {
      for (const [shardId, index] of Object.entries(record.recorded)) {
        this.#note(Number(shardId), BigInt(index));
      }
    }
    if (record.kind === 'gap') this.#note(record.shardId, BigInt(record.through));
    if (record.kind !== 'entry') return;
    this.#note(record.shardId, BigInt(record.index));
    const { clusterId } = record.facts;
    if (typeof clusterId === 'string') this.clusterId ??= clusterId;
  }

  #note(shardId: number, index: bigint): void {
    this.recorded.set(shardId, index);
    const known = this.entries.get(shardId) ?? [];
    if (known.at(-1) !== index) known.push(index);
    this.entries.set(shardId, known);
  }
}

/** As a `continue` record has them: by ascending shard. */
export function recordedFields(recorded: ReadonlyMap<number, bigint>): Record<string, string> {
  const sorted = [...recorded].sort(([a], [b]) => a - b);
  return Object.fromEntries(sorted.map(([shardId, index]) => [shardId, `${index}`]));
}
