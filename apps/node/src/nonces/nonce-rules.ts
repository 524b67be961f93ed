/**
 * What the registry, the sidecars and the processes allow, held against what was sealed. A pure
 * function of what an audit has read; every range is judged, not every envelope.
 *
 * What one member has not applied yet another one may have: registrations are joined, lowest first
 * epoch and highest last one, as they are when a snapshot is installed.
 */
import { SEALS_MAX } from '@raftseal/envelope';
import type { KeyPurpose } from '@raftseal/interface';
import type { NonceEvidence } from './evidence.ts';
import type { NonceRange } from './nonce-ledger.ts';
import type { Place } from './nonce-record.ts';
import type { NonceFinding, NonceFindingCode } from './report.ts';

/** Where envelopes were found. */
export interface RecordSource extends Place {
  /** The member's place in the list of members. */
  readonly member: number;
}

interface KnownKey {
  readonly purpose: KeyPurpose;
  readonly isRetired: boolean;
}

interface Epochs {
  readonly firstEpoch: number;
  readonly lastEpoch: number;
}

const purposeIn = { log: 'raft', store: 'storage', 'log damage': undefined } as const;

/** All members' evidence as one. */
export class JoinedEvidence {
  readonly members: readonly (NonceEvidence | undefined)[];
  readonly findings: NonceFinding[] = [];
  readonly #keys = new Map<number, KnownKey>();
  readonly #owners = new Map<number, string>();
  readonly #rows = new Map<string, Epochs>();

  /** @param members undefined for one that could not be asked */
  constructor(members: readonly (NonceEvidence | undefined)[]) {
    this.members = members;
    for (const evidence of members) if (evidence) this.#join(evidence);
  }

  key(dekId: number): KnownKey | undefined {
    return this.#keys.get(dekId);
  }

  ownerOf(writerId: number): string | undefined {
    return this.#owners.get(writerId);
  }

  row(dekId: number, writerId: number): Epochs | undefined {
    return this.#rows.get(`${dekId} ${writerId}`);
  }

  #join({ writers, keys, rows }: NonceEvidence): void {
    for (const { writerId, nodeId } of writers) {
      const owner = this.#owners.get(writerId) ?? nodeId;
      this.#owners.set(writerId, owner);
      if (owner === nodeId) continue;
      const text = `writer ${writerId} is ${owner} to one member and ${nodeId} to another`;
      this.findings.push({ code: 'writer-conflict', text });
    }
    for (const { dekId, purpose, isRetired } of keys) {
      const known = this.#keys.get(dekId);
      this.#keys.set(dekId, { purpose, isRetired: isRetired || known?.isRetired === true });
    }
    for (const { dekId, writerId, firstEpoch, lastEpoch } of rows) {
      const row = this.row(dekId, writerId) ?? { firstEpoch, lastEpoch };
      this.#rows.set(`${dekId} ${writerId}`, {
        firstEpoch: Math.min(row.firstEpoch, firstEpoch),
        lastEpoch: Math.max(row.lastEpoch, lastEpoch),
      });
    }
  }
}

/** Names a DEK, writer and epoch for who reads a finding. */
export function rangeName(
  evidence: JoinedEvidence,
  {
    dekId,
    writerId,
    nonceEpoch,
  }: { readonly dekId: number; readonly writerId: number; readonly nonceEpoch: number },
): string {
  const purpose = evidence.key(dekId)?.purpose ?? 'unknown';
  const owner = evidence.ownerOf(writerId) ?? 'nobody';
  return `DEK ${dekId} (${purpose}), writer ${writerId} (${owner}), epoch ${nonceEpoch}`;
}

export function judgeRanges(
  ranges: readonly NonceRange[],
  sources: readonly RecordSource[],
  evidence: JoinedEvidence,
): readonly NonceFinding[] {
  return [
    ...evidence.findings,
    ...evidence.members.flatMap((member) => (member ? registryAhead(member) : [])),
    ...ranges.flatMap((range) => new RangeJudge(range, sources, evidence).judge()),
  ];
}

/** A row that the sidecar beside it does not know of: the sidecar is an old copy. */
function registryAhead({ nodeId, writers, keys, rows }: NonceEvidence): readonly NonceFinding[] {
  const own = writers.find((writer) => writer.nodeId === nodeId);
  return rows.flatMap(({ dekId, writerId, lastEpoch }): NonceFinding[] => {
    const key = keys.find((each) => each.dekId === dekId);
    if (writerId !== own?.writerId || !key || key.isRetired) return [];
    if (key.nonceEpoch >= lastEpoch) return [];
    const text =
      `DEK ${dekId}: the registry of ${nodeId} has its epoch ${lastEpoch}, and its sidecar ` +
      `${key.nonceEpoch}: the sidecar is an old copy`;
    return [{ code: 'epoch-behind', text }];
  });
}

class RangeJudge {
  readonly #range: NonceRange;
  readonly #sources: readonly RecordSource[];
  readonly #evidence: JoinedEvidence;
  readonly #findings: NonceFinding[] = [];

  constructor(range: NonceRange, sources: readonly RecordSource[], evidence: JoinedEvidence) {
    this.#range = range;
    this.#sources = [...range.sources].flatMap((number) => sources[number] ?? []);
    this.#evidence = evidence;
  }

  judge(): readonly NonceFinding[] {
    const key = this.#evidence.key(this.#range.dekId);
    if (!key) {
      this.#found('dek-unknown', 'no key state has this DEK');
      return this.#findings;
    }
    this.#judgePlaces(key);
    this.#judgeCounters(key);
    this.#judgeWriter(key);
    for (const member of this.#evidence.members) if (member) this.#judgeOwner(member);
    return this.#findings;
  }

  #judgePlaces({ purpose }: KnownKey): void {
    for (const kind of ['log', 'store'] as const) {
      const isWrong = purpose !== purposeIn[kind];
      if (isWrong && this.#sources.some((source) => source.kind === kind)) {
        this.#found('wrong-purpose', `found in a ${kind}, where DEKs are ${purposeIn[kind]} ones`);
      }
    }
  }

  #judgeCounters({ purpose }: KnownKey): void {
    const { counted, random, lowest, highest } = this.#range;
    if (counted > 0 && (lowest === 0 || highest > Number(SEALS_MAX))) {
      const text = `counters from ${lowest} to ${highest}: they begin at 1 and end at ${SEALS_MAX}`;
      this.#found('counter-impossible', text);
    }
    if (random > 0 && purpose !== 'raft') {
      this.#found('counter-impossible', `${random} random counters: registrations are log entries`);
    }
  }

  #judgeWriter({ isRetired }: KnownKey): void {
    const { dekId, writerId, nonceEpoch, counted } = this.#range;
    if (this.#evidence.ownerOf(writerId) === undefined) {
      this.#found('writer-unknown', 'no node has this writer id');
      return;
    }
    // The registrations under a retired key are forgotten, and that of a random counter is the
    // entry itself, which may never have been applied.
    if (isRetired || counted === 0) return;
    const row = this.#evidence.row(dekId, writerId);
    if (!row) this.#found('writer-unregistered', 'the writer has no registration under the DEK');
    else if (nonceEpoch < row.firstEpoch || nonceEpoch > row.lastEpoch) {
      const registered = `${row.firstEpoch} to ${row.lastEpoch}`;
      this.#found('epoch-unregistered', `the writer has registered epochs ${registered}`);
    }
  }

  /** What only holds for the node whose writer id it is, or whose log it was found in. */
  #judgeOwner(member: NonceEvidence): void {
    const { dekId, writerId, nonceEpoch, counted, highest } = this.#range;
    const index = this.#evidence.members.indexOf(member);
    const places = this.#sources.filter((source) => source.member === index);
    if (places.length === 0) return;
    if (this.#evidence.ownerOf(writerId) !== member.nodeId) {
      if (member.logPlace === 'embedded' && places.some(({ kind }) => kind === 'log')) {
        this.#found(
          'writer-foreign',
          `found in the log of ${member.nodeId}, which alone writes it`,
        );
      }
      return;
    }
    const key = member.keys.find((each) => each.dekId === dekId);
    if (key && !key.isRetired && counted > 0 && key.nonceEpoch < nonceEpoch) {
      this.#found('epoch-behind', `the sidecar of ${member.nodeId} has epoch ${key.nonceEpoch}`);
    }
    const drawn = member.drawn.find((each) => each.dekId === dekId);
    if (drawn?.nonceEpoch === nonceEpoch && drawn.counter < highest) {
      const text = `counter ${highest}, and the process that has the epoch has drawn ${drawn.counter}`;
      this.#found('counter-ahead', text);
    }
  }

  #found(code: NonceFindingCode, text: string): void {
    this.#findings.push({ code, text: `${rangeName(this.#evidence, this.#range)}: ${text}` });
  }
}
