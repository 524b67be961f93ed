/**
 * Tells an operator what a damaged log lacks. All shards of a node share the files, and a group
 * that is not intact may have held records of any of them: only later records of a shard show
 * whether it lacks entries. So the log is refused as a whole, and this says what can be said.
 */
import { inspectEmbeddedLog, type LogFinding } from './inspection.ts';
import type { LogFiles } from './log-files.ts';

const RANGES_TOLD_MAX = 8;

/** A sentence part that names the missing entries as far as later records show them. */
export async function describeMissing(files: LogFiles, directory: string): Promise<string> {
  const ranges: string[] = [];
  const heads = new Map<number, bigint>();
  for await (const finding of inspectEmbeddedLog(directory, files)) {
    const known = knownHead(finding);
    if (known === undefined) continue;
    const { shardId, lacksBefore, head } = known;
    const before = heads.get(shardId);
    if (before !== undefined && lacksBefore > before + 1n) {
      ranges.push(`shard ${shardId} lacks entries ${before + 1n}..${lacksBefore - 1n}`);
    }
    if (before === undefined || head > before) heads.set(shardId, head);
  }
  const told = ranges.slice(0, RANGES_TOLD_MAX);
  if (ranges.length > told.length) told.push(`${ranges.length - told.length} more ranges`);
  const rest = 'any shard may lack what it wrote last before the damage';
  return told.length === 0 ? rest : `${told.join(', ')}, and ${rest}`;
}

/** What a record proves: its shard has a head, and entries up to just below `lacksBefore`. */
function knownHead(
  finding: LogFinding,
): { shardId: number; lacksBefore: bigint; head: bigint } | undefined {
  const { shardId } = finding as { shardId?: number };
  if (shardId === undefined) return undefined;
  if (finding.kind === 'checkpoint') {
    return { shardId, lacksBefore: finding.headIndex + 1n, head: finding.headIndex };
  }
  if (finding.kind !== 'entry' || finding.carried) return undefined;
  return { shardId, lacksBefore: finding.index, head: finding.index };
}
