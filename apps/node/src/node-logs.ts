/** The logs of a node's shards, wherever they are kept. */
import type { RaftEngine } from '@raftseal/interface';
import { inspectEmbeddedLog, openEmbeddedLog } from '@raftseal/raft-engine-embedded';
import { type LogWalk, LogWalker, type LogWalkRequest } from './verify/log-walk.ts';

export interface NodeLogs {
  engine(shardId: number): RaftEngine;
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
    walk: (request) => walkEmbeddedLog(options.directory, request),
    dropTruncated: () => log.dropTruncated(),
    close: () => log.close(),
  };
}

/** Reads every record of every segment, truncated entries that are still on disk included. */
export async function walkEmbeddedLog(
  directory: string,
  request: LogWalkRequest,
): Promise<LogWalk> {
  const walker = new LogWalker(request);
  for await (const finding of inspectEmbeddedLog(directory)) {
    const where = `${finding.segment} at ${finding.offset}`;
    if (finding.kind === 'entry') walker.entry({ ...finding, where });
    else if (finding.kind === 'damage') walker.problem(`${where}: ${finding.reason}`);
    else if (finding.kind === 'residue') {
      walker.problem(`${where}: ${finding.byteLength} bytes that belong to no record`);
    }
  }
  return walker.result();
}
