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
    close: () => log.close(),
  };
}

async function walkEtcdLogs(log: EtcdEngines, request: LogWalkRequest): Promise<LogWalk> {
  const walker = new LogWalker(request);
  for (const shardId of request.shardIds) {
    const engine = log.engine(shardId);
    const { firstIndex } = await engine.bounds();
    try {
      for await (const chunk of engine.read({ from: firstIndex, follow: false })) {
        for (const { index, payload } of chunk) {
          walker.entry({ shardId, index, payload: asBuffer(payload), where: 'in etcd' });
        }
      }
    } catch (error) {
      if (codeOf(error) !== 'RAFTSEAL_ENGINE_CORRUPT') throw error;
      walker.problem(`log of shard ${shardId}: ${(error as Error).message}`);
    }
  }
  return walker.result();
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
