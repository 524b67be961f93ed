/** The logs of a node's shards in etcd, as a verifier walks them. */
import { codeOf, type RaftEngine } from '@raftseal/interface';
import type { NodeLogs } from '../node-logs.ts';
import { type LogWalk, LogWalker, type LogWalkRequest } from '../verify/log-walk.ts';

/** What is asked of the logs in etcd. */
interface EtcdEngines {
  engine(shardId: number): RaftEngine;
  close(): Promise<void>;
}

export function etcdLogs(log: EtcdEngines): NodeLogs {
  return {
    engine: (shardId) => log.engine(shardId),
    walk: (request) => walkEtcdLogs(log, request),
    // etcd forgets in its own time: see the compaction of its history.
    dropTruncated: async () => undefined,
    close: () => log.close(),
  };
}

async function walkEtcdLogs(log: EtcdEngines, request: LogWalkRequest): Promise<LogWalk> {
  const walker = new LogWalker(request);
  for (const shardId of request.shardIds) await walkShard(log.engine(shardId), shardId, walker);
  return walker.result();
}

/** From where it has come to, or from the first entry that is left where others truncate it. */
async function walkShard(engine: RaftEngine, shardId: number, walker: LogWalker): Promise<void> {
  let from = 1n;
  for (;;) {
    const { firstIndex } = await engine.bounds();
    if (firstIndex > from) from = firstIndex;
    try {
      for await (const chunk of engine.read({ from, follow: false })) {
        for (const { index, payload } of chunk) {
          walker.entry({ shardId, index, payload: asBuffer(payload), where: 'in etcd' });
          from = index + 1n;
        }
      }
      return;
    } catch (error) {
      const code = codeOf(error);
      if (code === 'RAFTSEAL_ENGINE_CORRUPT') {
        walker.problem(`log of shard ${shardId}: ${(error as Error).message}`);
        return;
      }
      if (code !== 'RAFTSEAL_ENGINE_TRUNCATED') throw error;
    }
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
