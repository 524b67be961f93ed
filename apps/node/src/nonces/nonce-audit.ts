/**
 * The audit itself: reads the envelopes of every member into one ledger, asks for the evidence
 * afterwards, and judges.
 *
 * The order matters. An epoch is registered before anything is sealed under it, so evidence that is
 * taken after the last envelope was read covers all of them; the other way round, whatever was
 * sealed in between would look as if it were not allowed.
 *
 * Memory is bounded whatever the number of envelopes: a ledger that fills up is given up, and the
 * nonces are divided into twice as many parts, each of which is read in a pass of its own.
 */
import { codeOf, RaftsealError } from '@raftseal/interface';
import type { NonceEvidence } from './evidence.ts';
import { NonceLedger } from './nonce-ledger.ts';
import { type NoncePart, placeNumberAt, placeOf, RECORD_BYTES } from './nonce-record.ts';
import { JoinedEvidence, judgeRanges, type RecordSource, rangeName } from './nonce-rules.ts';
import type { AuditedMember, NonceFinding, NonceRangeReport, NonceReport } from './report.ts';

/** A node of the cluster, or a data directory, as an audit reads it. */
export interface AuditMember {
  readonly nodeId: string;
  readonly directory: string | null;
  readonly reads: 'log and stores' | 'stores';
  /** Records (nonce-record.ts) of a part, in chunks of whole ones. */
  records(part: NoncePart): AsyncIterable<Buffer>;
  evidence(): Promise<NonceEvidence>;
}

export interface NonceAuditOptions {
  /** Most nonces in memory at a time; see the ledger. */
  readonly recordsMax?: number;
}

const FINDINGS_LISTED_MAX = 200;
/** 2^20 parts of three million nonces each are more than anybody has. */
const PARTS_MAX = 2 ** 20;

/**
 * @param members the first one has to be there; others that are out of reach are findings
 * @throws RAFTSEAL_NODE_FOREIGN_CLUSTER; what the first member throws
 */
export async function auditNonces(
  members: readonly AuditMember[],
  options: NonceAuditOptions = {},
): Promise<NonceReport> {
  for (let of = 1; of <= PARTS_MAX; of *= 2) {
    const reading = new Reading(members, of, options);
    if (await reading.run()) return reading.report(await reading.evidence());
  }
  throw new Error('no ledger holds a part of so many nonces');
}

/** One attempt, with the nonces divided into so many parts. */
class Reading {
  readonly #members: readonly AuditMember[];
  readonly #parts: number;
  readonly #ledger: NonceLedger;
  readonly #sources: RecordSource[] = [];
  /** Numbers of sources, by member and number of the place. */
  readonly #sourceNumbers = new Map<number, Map<number, number>>();
  readonly #unreadable = new Map<number, number>();
  readonly #missing = new Map<AuditMember, string>();

  constructor(members: readonly AuditMember[], parts: number, { recordsMax }: NonceAuditOptions) {
    this.#members = members;
    this.#parts = parts;
    this.#ledger = new NonceLedger(recordsMax === undefined ? {} : { recordsMax });
  }

  /** @returns false where the ledger does not hold a part */
  async run(): Promise<boolean> {
    for (let part = 0; part < this.#parts; part++) {
      if (part > 0) this.#ledger.nextPart();
      for (const [number, member] of this.#members.entries()) {
        if (this.#missing.has(member)) continue;
        await this.#ifThere(member, () => this.#read(member, number, { part, of: this.#parts }));
        if (this.#ledger.isFull) return false;
      }
    }
    return true;
  }

  /** Undefined for a member that is missing. */
  async evidence(): Promise<readonly (NonceEvidence | undefined)[]> {
    const found: (NonceEvidence | undefined)[] = [];
    for (const member of this.#members) {
      let evidence: NonceEvidence | undefined;
      if (!this.#missing.has(member)) {
        await this.#ifThere(member, async () => {
          evidence = await member.evidence();
        });
      }
      found.push(evidence);
    }
    const clusterIds = new Set(found.flatMap((each) => each?.clusterId ?? []));
    if (clusterIds.size > 1) throw differentClusters(found);
    return found;
  }

  report(members: readonly (NonceEvidence | undefined)[]): NonceReport {
    const ledger = this.#ledger;
    const evidence = new JoinedEvidence(members);
    const ranges = ledger.ranges();
    const findings = [
      ...this.#missingMembers(),
      ...this.#reuses(evidence),
      ...this.#unreadables(),
      ...judgeRanges(ranges, this.#sources, evidence),
    ];
    const unlisted = ledger.reuseCount - ledger.reuses.length;
    return {
      clean: findings.length === 0,
      members: this.#members.map((member, number) => this.#audited(member, members[number])),
      envelopes: ledger.read,
      copies: ledger.copies,
      passes: this.#parts,
      ranges: ranges.map((range): NonceRangeReport => {
        const { dekId, writerId, nonceEpoch, counted, random, lowest, highest } = range;
        return {
          dekId,
          purpose: evidence.key(dekId)?.purpose ?? null,
          writerId,
          nodeId: evidence.ownerOf(writerId) ?? null,
          nonceEpoch,
          envelopes: counted,
          lowest: counted > 0 ? lowest : null,
          highest: counted > 0 ? highest : null,
          registrations: random,
        };
      }),
      findings: findings.slice(0, FINDINGS_LISTED_MAX),
      findingCount: findings.length + unlisted,
    };
  }

  async #read(member: AuditMember, number: number, part: NoncePart): Promise<void> {
    for await (const chunk of member.records(part)) {
      for (let at = 0; at + RECORD_BYTES <= chunk.length; at += RECORD_BYTES) {
        const source = this.#sourceNumber(number, placeNumberAt(chunk, at));
        if (chunk.readUInt32BE(at) === 0) {
          this.#unreadable.set(source, (this.#unreadable.get(source) ?? 0) + 1);
        } else this.#ledger.add(chunk, at, source);
      }
      if (this.#ledger.isFull) return;
    }
  }

  /** The first member is who asks, and has to be there. */
  async #ifThere(member: AuditMember, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      const code = codeOf(error);
      if (member === this.#members[0] || !code?.startsWith('RAFTSEAL_')) throw error;
      this.#missing.set(member, code);
    }
  }

  #sourceNumber(member: number, placeNumber: number): number {
    const ofMember = this.#sourceNumbers.get(member) ?? new Map<number, number>();
    this.#sourceNumbers.set(member, ofMember);
    const known = ofMember.get(placeNumber);
    if (known !== undefined) return known;
    const place = placeOf(placeNumber) ?? { kind: 'log damage', shardId: 0 };
    const number = this.#sources.push({ ...place, member }) - 1;
    ofMember.set(placeNumber, number);
    return number;
  }

  #missingMembers(): readonly NonceFinding[] {
    return [...this.#missing].map(([{ nodeId }, code]) => {
      const text = `${nodeId}: its stores could not be read (${code}), nothing is known of them`;
      return { code: 'member-missing', text };
    });
  }

  #reuses(evidence: JoinedEvidence): readonly NonceFinding[] {
    return this.#ledger.reuses.map((reuse) => {
      const [first, second] = reuse.sources.map((source) => this.#sourceName(source));
      const text =
        `${rangeName(evidence, reuse)}, counter ${reuse.counter}: two different envelopes, in the ` +
        `${first} and in the ${second}`;
      return { code: 'nonce-reused', text };
    });
  }

  #unreadables(): readonly NonceFinding[] {
    return [...this.#unreadable].map(([source, count]) => {
      const text = `${this.#sourceName(source)}: ${count} that are no envelopes; \`verify\` names them`;
      return { code: 'unreadable', text };
    });
  }

  #sourceName(number: number): string {
    const source = this.#sources[number];
    if (source === undefined) return 'unknown place';
    const { nodeId, directory } = this.#members[source.member] ?? {};
    const where = directory === null ? nodeId : `${nodeId} in ${directory}`;
    if (source.kind === 'log damage') return `log of ${where}`;
    return `${source.kind} of shard ${source.shardId} of ${where}`;
  }

  #audited(member: AuditMember, evidence: NonceEvidence | undefined): AuditedMember {
    const { nodeId, directory, reads } = member;
    const read = this.#missing.has(member) ? 'nothing' : reads;
    return { nodeId, directory, read, isAuthenticated: evidence?.isAuthenticated ?? false };
  }
}

function differentClusters(found: readonly (NonceEvidence | undefined)[]): RaftsealError {
  const named = found.flatMap((each) => (each ? [`${each.nodeId}: ${each.clusterId}`] : []));
  return new RaftsealError(
    'RAFTSEAL_NODE_FOREIGN_CLUSTER',
    `expected nodes of one cluster; found the cluster ids ${named.join(', ')}: audit each by itself`,
  );
}
