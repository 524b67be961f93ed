/** Walks the logs: what each entry is, whether it is where the index rule wants it, and opens. */
import { codeOf, type RaftEngine } from '@raftseal/interface';
import {
  KIND_DATA,
  KIND_KEY_LIFECYCLE,
  TAG_BYTES,
  TAG_CLEARTEXT,
  TAG_SEALED,
} from '@raftseal/shard-group';
import type { LogReport } from './report.ts';

/** One entry as `log inspect` lists it: nothing of its content. */
export interface LogEntrySummary {
  readonly index: string;
  readonly term: string;
  readonly payload: 'cleartext' | 'sealed' | 'unknown';
  readonly dekId: number | null;
  /** Of an entry in the clear. */
  readonly kind: 'data' | 'key lifecycle' | null;
  readonly bytes: number;
}

/** @throws RAFTSEAL_ENGINE_TRUNCATED where `from` was dropped already */
export async function summarizeLog(
  engine: RaftEngine,
  { from: asked, limit }: { readonly from: bigint | undefined; readonly limit: number },
): Promise<readonly LogEntrySummary[]> {
  const from = asked ?? (await engine.bounds()).firstIndex;
  const summaries: LogEntrySummary[] = [];
  for await (const chunk of engine.read({ from, follow: false })) {
    for (const { index, term, payload } of chunk) {
      summaries.push({
        index: index.toString(),
        term: term.toString(),
        ...payloadSummary(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)),
      });
      if (summaries.length === limit) return summaries;
    }
  }
  return summaries;
}

/** What is wrong with whatever is in the clear once a cluster is sealed-only. */
export const SEALED_ONLY = 'in the clear, in a cluster that is sealed-only';

type PayloadSummary = Pick<LogEntrySummary, 'payload' | 'dekId' | 'kind' | 'bytes'>;

/** Where an envelope has its DEK id. */
export const DEK_ID_OFFSET = 2;

function payloadSummary(payload: Buffer): PayloadSummary {
  const bytes = payload.length;
  if (payload[0] === TAG_SEALED && bytes >= TAG_BYTES + DEK_ID_OFFSET + 4) {
    const dekId = payload.readUInt32BE(TAG_BYTES + DEK_ID_OFFSET);
    return { payload: 'sealed', dekId, kind: null, bytes };
  }
  if (payload[0] !== TAG_CLEARTEXT) return { payload: 'unknown', dekId: null, kind: null, bytes };
  const kind = payload[TAG_BYTES];
  const known = kind === KIND_DATA ? 'data' : kind === KIND_KEY_LIFECYCLE ? 'key lifecycle' : null;
  return { payload: 'cleartext', dekId: null, kind: known, bytes };
}

export interface LogWalk {
  readonly logs: readonly LogReport[];
  readonly problems: readonly string[];
}

export interface LogWalkRequest {
  readonly shardIds: readonly number[];
  /**
   * Asked for each entry: the shards of a running node may be cut over meanwhile, and a cutover is
   * recorded before anything above it is sealed.
   */
  readonly cutoverIndexOf: (shardId: number) => bigint | undefined;
  /** Nothing in the clear is read any more: an entry in the clear is a problem. */
  readonly sealedOnly?: boolean;
  /** Opens an envelope above a cutover, or throws a coded error. */
  readonly open: (place: EntryPlace, envelope: Uint8Array) => unknown;
}

export interface EntryPlace {
  readonly shardId: number;
  readonly index: bigint;
}

/** Where somebody who looks for an entry finds it. */
export interface StoredEntry extends EntryPlace {
  readonly payload: Buffer;
  readonly where: string;
}

/** What reading a log brings to light: an entry, or something that is wrong with the log. */
export type LogFinding =
  | { readonly kind: 'entry'; readonly entry: StoredEntry }
  | { readonly kind: 'problem'; readonly text: string };

/** Collects what a walk through the logs finds. */
export class LogWalker {
  readonly #request: LogWalkRequest;
  readonly #tallies = new Map<number, Tally>();
  readonly #problems: string[] = [];

  constructor(request: LogWalkRequest) {
    this.#request = request;
  }

  async walk(findings: AsyncIterable<LogFinding>): Promise<LogWalk> {
    for await (const finding of findings) {
      if (finding.kind === 'entry') this.#entry(finding.entry);
      else this.#problems.push(finding.text);
    }
    return this.#result();
  }

  #result(): LogWalk {
    const logs = this.#request.shardIds.map((shardId) => {
      const tally = this.#tally(shardId);
      return {
        shardId,
        cutoverIndex: this.#request.cutoverIndexOf(shardId)?.toString() ?? null,
        firstIndex: tally.first?.toString() ?? null,
        lastIndex: tally.last?.toString() ?? null,
        cleartextData: tally.cleartextData,
        cleartextKeyLifecycle: tally.cleartextKeyLifecycle,
        sealed: Object.fromEntries(tally.sealed),
      };
    });
    return { logs, problems: this.#problems };
  }

  #entry({ shardId, index, payload, where }: StoredEntry): void {
    if (!this.#request.shardIds.includes(shardId)) {
      this.#problems.push(
        `entry ${index} of shard ${shardId} (${where}): the node has no such shard`,
      );
      return;
    }
    const cutoverIndex = this.#request.cutoverIndexOf(shardId);
    const aboveCutover = cutoverIndex !== undefined && index > cutoverIndex;
    const summary = payloadSummary(payload);
    const tally = this.#tally(shardId);
    const named = `entry ${index} of shard ${shardId} (${where})`;
    tally.first = tally.first === undefined || index < tally.first ? index : tally.first;
    tally.last = tally.last === undefined || index > tally.last ? index : tally.last;
    if (summary.payload === 'unknown') this.#problems.push(`${named}: unknown payload tag`);
    else if (summary.payload === 'cleartext') {
      if (summary.kind === 'key lifecycle') tally.cleartextKeyLifecycle++;
      else tally.cleartextData++;
      if (aboveCutover) this.#problems.push(`${named}: in the clear above the cutover`);
      else if (this.#request.sealedOnly === true) this.#problems.push(`${named}: ${SEALED_ONLY}`);
    } else if (!aboveCutover) this.#problems.push(`${named}: sealed, not above a cutover`);
    else this.#open({ shardId, index }, payload, named);
  }

  #open(place: EntryPlace, payload: Buffer, named: string): void {
    const { sealed } = this.#tally(place.shardId);
    try {
      this.#request.open(place, payload.subarray(TAG_BYTES));
      const dekId = payload.readUInt32BE(TAG_BYTES + DEK_ID_OFFSET);
      sealed.set(dekId, (sealed.get(dekId) ?? 0) + 1);
    } catch (error) {
      this.#problems.push(`${named}: does not open (${codeOf(error) ?? 'unexpected error'})`);
    }
  }

  #tally(shardId: number): Tally {
    const known = this.#tallies.get(shardId);
    if (known) return known;
    const tally: Tally = {
      first: undefined,
      last: undefined,
      cleartextData: 0,
      cleartextKeyLifecycle: 0,
      sealed: new Map(),
    };
    this.#tallies.set(shardId, tally);
    return tally;
  }
}

interface Tally {
  first: bigint | undefined;
  last: bigint | undefined;
  cleartextData: number;
  cleartextKeyLifecycle: number;
  readonly sealed: Map<number, number>;
}
