/** Appends to an embedded log: every acknowledged entry is there, with its bytes, and no gap. */
import { mkdir } from 'node:fs/promises';
import { type EmbeddedLog, openEmbeddedLog } from '@raftseal/raft-engine-embedded';
import type { LogProgramOptions } from '../children/log-process.ts';
import { highest, type Told } from '../children/told.ts';
import { LOG_SEGMENT_BYTES, LOG_SHARDS, payloadOf } from './log-payload.ts';
import { childCommand, problemsOf, type Subject } from './subject.ts';

export const LOG_PAYLOAD_BYTES = 1_500;

export const logSubject: Subject = {
  name: 'log',
  prepare: async (directory) => void (await mkdir(directory, { recursive: true })),
  command: (directory, plant) =>
    childCommand<LogProgramOptions>('log', {
      directory,
      appends: 18,
      truncateEvery: 12,
      payloadBytes: LOG_PAYLOAD_BYTES,
      plant,
    }),
  problems: logProblems,
  plants: { early: 'kill', swallow: 'error' },
  // No entry stands in a spare segment: what is under way elsewhere meanwhile is durable.
  mayGoOnAfter: (path) => !path.endsWith('.seg'),
};

export function logProblems(directory: string, told: Told): Promise<readonly string[]> {
  return problemsOf(async () => {
    const log = await openEmbeddedLog({
      directory,
      nodeId: 'a',
      shardIds: LOG_SHARDS,
      segmentBytes: LOG_SEGMENT_BYTES,
    });
    try {
      const problems: string[] = [];
      for (const shardId of LOG_SHARDS) problems.push(...(await shardProblems(log, shardId, told)));
      return problems;
    } finally {
      await log.close();
    }
  });
}

async function shardProblems(log: EmbeddedLog, shardId: number, told: Told): Promise<string[]> {
  const engine = log.engine(shardId);
  const { firstIndex, headIndex } = await engine.bounds();
  const problems: string[] = [];
  const acknowledged = highest(told.acknowledged, `${shardId}`, 0n);
  if (headIndex < acknowledged) {
    problems.push(`shard ${shardId} ends at ${headIndex}, acknowledged was ${acknowledged}`);
  }
  const truncated = highest(told.acknowledged, `truncate-${shardId}`, 0n);
  const asked = highest(told.started, `truncate-${shardId}`, firstIndex - 1n);
  if (firstIndex <= truncated || firstIndex > asked + 1n) {
    problems.push(`shard ${shardId} begins at ${firstIndex}, truncated was ${truncated}`);
  }
  let next = firstIndex;
  for await (const entries of engine.read({ from: firstIndex, follow: false })) {
    for (const { index, payload } of entries) {
      const isRight = payloadOf(shardId, index, payload.byteLength).equals(payload);
      if (index !== next || !isRight || payload.byteLength === 0) {
        problems.push(`shard ${shardId} has another entry ${next}`);
      }
      next = index + 1n;
    }
  }
  if (next !== headIndex + 1n) problems.push(`shard ${shardId} cannot be read beyond ${next}`);
  // The next process goes on where this one ended.
  const { term, headIndex: elected } = await engine.elect();
  const payload = payloadOf(shardId, elected + 1n, LOG_PAYLOAD_BYTES);
  const { outcome } = await engine.append({ term, index: elected + 1n, payload });
  if (outcome !== 'done') problems.push(`shard ${shardId} does not go on: ${outcome}`);
  return problems;
}
