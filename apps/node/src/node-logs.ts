/** The logs of a node's shards, wherever they are kept. */
import type { RaftEngine } from '@raftseal/interface';
import { inspectEmbeddedLog, openEmbeddedLog } from '@raftseal/raft-engine-embedded';
import {
  type LogFinding,
  type LogWalk,
  LogWalker,
  type LogWalkRequest,
} from './verify/log-walk.ts';

export interface NodeLogs {
  engine(shardId: number): RaftEngine;
  /** Every entry that is there, as it stands. */
  findings(shardIds: readonly number[]): AsyncIterable<LogFinding>;
  /** Reads every entry that is there, for a verifier. */
  walk(request: LogWalkRequest): Promise<LogWalk>;
  /** Rids the files of this node of what was truncated. */
  dropTruncated(): Promise<void>;
  close(): Promise<void>;
}

/** Opens logs on the disk of this machine. */
export async function openEmbeddedLogs(options: {
  readonly directory: string;
  readonly nodeId: string;
  readonly shardIds: readonly number[];
}): Promise<NodeLogs> {
  const log = await openEmbeddedLog(options);
  return {
    engine: (shardId) => log.engine(shardId),
    findings: () => embeddedFindings(options.directory),
    walk: (request) => walkEmbeddedLog(options.directory, request),
    dropTruncated: () => log.dropTruncated(),
    close: () => log.close(),
  };
}

/** Every record of every segment, truncated entries that are still on disk included. */
export async function* embeddedFindings(directory: string): AsyncGenerator<LogFinding> {
  for await (const finding of inspectEmbeddedLog(directory)) {
    const where = `${finding.segment} at ${finding.offset}`;
    if (finding.kind === 'entry') yield { kind: 'entry', entry: { ...finding, where } };
    else if (finding.kind === 'damage') yield problem(`${where}: ${finding.reason}`);
    else if (finding.kind === 'residue') {
      yield problem(`${where}: ${finding.byteLength} bytes that belong to no record`);
    }
  }
}

function problem(text: string): LogFinding {
  return { kind: 'problem', text };
}

/** See {@link NodeLogs.walk}. */
export function walkEmbeddedLog(directory: string, request: LogWalkRequest): Promise<LogWalk> {
  return new LogWalker(request).walk(embeddedFindings(directory));
}
