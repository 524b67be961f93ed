/**
 * Reads an audit trail from end to end and says whether it is as it was written. Changes nothing,
 * and works while the node writes to it.
 *
 * The chain shows what was edited, deleted or put elsewhere within it. Who can write the files can
 * cut records off its end, or write it anew from some record on: that shows only against the hash
 * of a record that was noted elsewhere, an anchor.
 */
import { codeOf, RaftsealError } from '@raftseal/interface';
import { FILES_MAX } from './audit-trail.ts';
import { Chain } from './chain.ts';
import type { AuditRecord, GapRecord } from './record.ts';
import { readTrailFile, trailFileNames } from './trail-files.ts';

export interface TrailReport {
  /** Nothing is wrong, and the anchor, if there is one, was found. */
  readonly intact: boolean;
  readonly nodeId: string | null;
  /** Hex. */
  readonly clusterId: string | null;
  readonly files: number;
  readonly records: number;
  /** Sequence of the first record that is kept; earlier files are gone where it is not 1. */
  readonly first: number | null;
  readonly headHash: string | null;
  /** Sequence of the record that the anchor is the hash of. */
  readonly anchoredAt: number | null;
  /** Log entries that no record is about. */
  readonly gaps: readonly GapRecord[];
  /** What is wrong, one line each. */
  readonly problems: readonly string[];
}

export interface TrailRequest {
  readonly directory: string;
  /** Hash of a record that was noted earlier. */
  readonly anchor?: string | undefined;
  /** Whose trail it has to be. */
  readonly nodeId?: string | undefined;
}

/** @throws RAFTSEAL_NODE_DATA_DIR where the trail cannot be read, or there is none */
export async function verifyTrail(request: TrailRequest): Promise<TrailReport> {
  const { directory, anchor, nodeId } = request;
  const chain = new Chain();
  const problems: string[] = [];
  const gaps: GapRecord[] = [];
  const seen = { records: 0, first: null as number | null, anchoredAt: null as number | null };
  const names = await namesIn(directory);
  for await (const { where, record, hash, problem } of links(directory, names, chain)) {
    seen.records++;
    seen.first ??= record?.sequence ?? null;
    if (problem !== undefined) problems.push(`${where} ${problem}`);
    if (hash === anchor) seen.anchoredAt = chain.sequence;
    if (record?.kind === 'gap') gaps.push(record);
  }
  if (seen.first !== 1 && names.length < FILES_MAX) {
    problems.push(
      `records 1 to ${(seen.first ?? 1) - 1} were deleted: no more files than ${FILES_MAX} are kept, and there are ${names.length}`,
    );
  }
  if (nodeId !== undefined && chain.nodeId !== nodeId) {
    problems.push(
      `the trail is of node ${chain.nodeId ?? 'unknown'}, and the directory of ${nodeId}`,
    );
  }
  if (anchor !== undefined && seen.anchoredAt === null) problems.push(anchorLost(anchor));
  return {
    ...seen,
    intact: problems.length === 0,
    nodeId: chain.nodeId ?? null,
    clusterId: chain.clusterId,
    files: names.length,
    headHash: seen.records === 0 ? null : chain.headHash,
    gaps,
    problems,
  };
}

/** The records that are kept, oldest first; lines that are none are left out. */
export async function* readTrail(directory: string): AsyncGenerator<AuditRecord> {
  for await (const { record } of links(directory, await namesIn(directory), new Chain())) {
    if (record) yield record;
  }
}

async function* links(directory: string, names: readonly string[], chain: Chain) {
  for (const name of names) {
    const { lines, rest, firstSequence } = await readable(directory, () =>
      readTrailFile(directory, name),
    );
    // Only the last file is written to, and may end in the middle of a line.
    const isFinished = rest.length === 0 || name === names.at(-1);
    for (const [at, line] of (isFinished ? lines : [...lines, rest]).entries()) {
      const link = chain.follow(line, at === 0 ? firstSequence : undefined);
      yield { ...link, where: `line ${at + 1} of ${name}` };
    }
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  const names = await readable(directory, () => trailFileNames(directory));
  if (names.length > 0) return names;
  throw new RaftsealError(
    'RAFTSEAL_NODE_DATA_DIR',
    `expected an audit trail at ${directory}, found none: --data says which node it is of; one that ` +
      'has had no keys and no admin calls yet has no trail',
  );
}

async function readable<T>(directory: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new RaftsealError(
      'RAFTSEAL_NODE_DATA_DIR',
      `the audit trail at ${directory} cannot be read (${codeOf(cause) ?? 'unexpected error'})`,
      { cause },
    );
  }
}

function anchorLost(anchor: string): string {
  return (
    `no record has the hash ${anchor}: the trail was cut off or written anew since it was noted, or ` +
    'it is of a record that is no longer kept'
  );
}
