/** The logs of a node's shards in etcd, as a verifier walks them. */
import { codeOf, type RaftEngine } from '@raftseal/interface';
import type { NodeLogs } from '../node-logs.ts';
import { type LogFinding, LogWalker } from '../verify/log-walk.ts';

/** What is asked of the logs in etcd. */
interface EtcdEngines {
  engine(shardId: number): RaftEngine;
  close(): Promise<void>;
}

export function etcdLogs(log: EtcdEngines): NodeLogs {
  return {
    engine: (shardId) => log.engine(shardId),
    findings: (shardIds) => findingsOf(log, shardIds),
    walk: (request) => new LogWalker(request).walk(findingsOf(log, request.shardIds)),
    // etcd forgets in its own time: see the compaction of its history.
    dropTruncated: async () => undefined,
    close: () => log.close(),
  };
}

async function* findingsOf(
  log: EtcdEngines,
  shardIds: readonly number[],
): AsyncGenerator<LogFinding> {
  for (const shardId of shardIds) yield* shardFindings(log.engine(shardId), shardId);
}

/** From where it has come to, or from the first entry that is left where others truncate it. */
async function* shardFindings(engine: RaftEngine, shardId: number): AsyncGenerator<LogFinding> {
  let from = 1n;
  for (;;) {
    const { firstIndex } = await engine.bounds();
    if (firstIndex > from) from = firstIndex;
    try {
      for await (const chunk of engine.read({ from, follow: false })) {
        for (const { index, payload } of chunk) {
          const entry = { shardId, index, payload: asBuffer(payload), where: 'in etcd' };
          from = index + 1n;
          yield { kind: 'entry', entry };
        }
      }
      return;
    } catch (error) {
      const code = codeOf(error);
      if (code === 'RAFTSEAL_ENGINE_CORRUPT') {
        yield { kind: 'problem', text: `log of shard ${shardId}: ${(error as Error).message}` };
        return;
      }
      if (code !== 'RAFTSEAL_ENGINE_TRUNCATED') throw error;
    }
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
