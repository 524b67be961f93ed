/**
 * The records of the audit trail, one JSON object on a line each:
 *
 * | field | content |
 * | --- | --- |
 * | sequence | 1 for the first record of a trail, one more for each |
 * | before | SHA-256 of the line before, without its line end, in hex; zeros for the first record |
 * | at | time by the clock of this node, ISO 8601 |
 * | kind | what follows, see {@link AuditBody} |
 *
 * So the hash of one line stands for all lines up to it. Log indexes are decimal strings.
 */
import { createHash } from 'node:crypto';

export type AuditBody =
  | BeginRecord
  | ContinueRecord
  | EntryRecord
  | GapRecord
  | CallRecord
  | ResultRecord;

/** The first record of a trail. */
export interface BeginRecord {
  readonly kind: 'begin';
  readonly nodeId: string;
  /** Hex; null where the cluster has no keys yet, whose bootstrap then names it. */
  readonly clusterId: string | null;
}

/** The first record of each later file: what the files before it add up to. */
export interface ContinueRecord {
  readonly kind: 'continue';
  readonly nodeId: string;
  readonly clusterId: string | null;
  /** By shard: the last log entry that a record is about. */
  readonly recorded: Readonly<Record<string, string>>;
}

/** A key-lifecycle entry, as this replica applied it. */
export interface EntryRecord {
  readonly kind: 'entry';
  readonly shardId: number;
  readonly index: string;
  /** Such as `rotate-dek`. */
  readonly entry: string;
  /** `applied`, or why it changed nothing. */
  readonly outcome: string;
  /** DEK ids, KEK URIs without credentials, epochs, writers. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Entries that changed the key state of this node without a record of their own. */
export interface GapRecord {
  readonly kind: 'gap';
  readonly shardId: number;
  /** The last entry before the gap that a record is about. */
  readonly after: string;
  readonly through: string;
  readonly reason: GapReason;
}

/**
 * `adopted`: they came with the key state of another node. `not written`: the trail could not be
 * written. `found at start`: the key state had them already, after a rebuilt sidecar, a trail that
 * was moved away, or a crash after either of the other two.
 */
export type GapReason = 'adopted' | 'not written' | 'found at start';

/** A call of the admin API that may change something, before anything is done about it. */
export interface CallRecord {
  readonly kind: 'call';
  readonly method: string;
  readonly path: string;
  /** Who asks: a certificate, the fingerprint of a token, or another node. */
  readonly caller: string;
  /** What is asked for, as far as it is known to hold no secret. */
  readonly given: Readonly<Record<string, unknown>>;
}

/** How a call ended. A call without one was cut short, and may have been done. */
export interface ResultRecord {
  readonly kind: 'result';
  /** Sequence of the call. */
  readonly call: number;
  /** `done`, or the code of the refusal. */
  readonly code: string;
}

export type AuditRecord = AuditBody & {
  readonly sequence: number;
  readonly before: string;
  readonly at: string;
};

/** What the first record says is before it. */
export const NOTHING_BEFORE: string = '0'.repeat(64);

export function hashOf(line: Uint8Array): string {
  return createHash('sha256').update(line).digest('hex');
}

/** Without a line end. */
export function encodeRecord(record: AuditRecord): Buffer {
  const { sequence, before, at, kind, ...rest } = record;
  return Buffer.from(JSON.stringify({ sequence, before, at, kind, ...rest }));
}

type Test = (value: unknown) => boolean;

const text: Test = (value) => typeof value === 'string';
const number: Test = (value) => Number.isSafeInteger(value);
const object: Test = (value) => typeof value === 'object' && value !== null;
const index: Test = (value) => typeof value === 'string' && /^\d{1,20}$/.test(value);
const common = { sequence: number, before: text, at: text };

const fields: Readonly<Record<AuditBody['kind'], Readonly<Record<string, Test>>>> = {
  begin: { nodeId: text },
  continue: { nodeId: text, recorded: object },
  entry: { shardId: number, index, entry: text, outcome: text, facts: object },
  gap: { shardId: number, after: index, through: index, reason: text },
  call: { method: text, path: text, caller: text, given: object },
  result: { call: number, code: text },
};

/** Undefined for a line that is no record. */
export function decodeRecord(line: Uint8Array): AuditRecord | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(line).toString());
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const record = value as Record<string, unknown>;
  const own = Object.entries(fields).find(([kind]) => kind === record.kind)?.[1];
  if (own === undefined) return undefined;
  const tests = Object.entries({ ...common, ...own });
  const isRecord = tests.every(([name, test]) => test(record[name]));
  return isRecord ? (record as unknown as AuditRecord) : undefined;
}
