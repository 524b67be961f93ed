/** Nodes in this process, on free ports, over data directories of the running test's own. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SLOT_COUNT, slotOf } from '@raftseal/kv';
import { type EmbeddedLog, openEmbeddedLog } from '@raftseal/raft-engine-embedded';
import { Redis } from 'ioredis';
import { onTestFinished } from 'vitest';
import type { NodeConfig } from '../src/config.ts';
import { readIdentity } from '../src/data-directory.ts';
import { shardOfSlot } from '../src/keyspace-of-shards.ts';
import { type Node, type NodeParts, startNode } from '../src/node.ts';
import { temporaryDirectory } from './temporary-directory.ts';

export const SHARD_COUNT = 3;

/** A configuration with a data directory and a KEK of its own, in a folder of the running test's. */
export function newConfig(
  changes: Partial<NodeConfig> = {},
  root: string = temporaryDirectory(),
): NodeConfig {
  const kekPath = join(root, 'kek');
  writeFileSync(kekPath, randomBytes(32), { mode: 0o600 });
  return {
    dataPath: join(root, 'data'),
    shardCount: SHARD_COUNT,
    encryption: 'on',
    kekUris: [`file:${kekPath}`],
    redis: { host: '127.0.0.1', port: 0, password: undefined },
    admin: { host: '127.0.0.1', port: 0, tokenPath: undefined },
    cacheBytesMax: 1024 * 1024,
    ...changes,
  };
}

/** Starts a node that is stopped when the test is over, if not before. */
export async function running(config: NodeConfig, parts?: NodeParts): Promise<Node> {
  const node = await startNode(config, parts);
  onTestFinished(() => node.stop());
  return node;
}

export function clientOf(node: Node): Redis {
  const client = new Redis(node.redisPort, '127.0.0.1', {
    retryStrategy: () => null,
    enableReadyCheck: false,
  });
  client.on('error', () => undefined);
  onTestFinished(() => client.disconnect());
  return client;
}

/** The n-th key that lives in a shard. */
export function keyOf(shardId: number, n = 0): string {
  for (let i = 0, found = 0; i < SLOT_COUNT; i++) {
    const key = `key:${i}`;
    if (shardOfSlot(slotOf(key), SHARD_COUNT) === shardId && found++ === n) return key;
  }
  throw new Error(`shard ${shardId} has ${n} keys`);
}

/** Calls the admin API with the token of the data directory. */
export async function adminCall(
  node: Node,
  { dataPath }: Pick<NodeConfig, 'dataPath'>,
  [method, path, body]: readonly [method: string, path: string, body?: unknown],
): Promise<{ readonly status: number; readonly text: string }> {
  const token = (await readFile(join(dataPath, 'admin.token'), 'utf8')).trim();
  const response = await fetch(`http://127.0.0.1:${node.adminPort}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, text: await response.text() };
}

/** Acts on the log of a node that is stopped, as somebody with the disk can. */
async function withLog<T>(
  { dataPath }: Pick<NodeConfig, 'dataPath'>,
  act: (log: EmbeddedLog) => Promise<T>,
): Promise<T> {
  const identity = await readIdentity(dataPath);
  if (!identity) throw new Error('there is a data directory');
  const shardIds = Array.from({ length: identity.shardCount }, (_, id) => id);
  const directory = join(dataPath, 'log');
  const log = await openEmbeddedLog({ directory, nodeId: identity.nodeId, shardIds });
  try {
    return await act(log);
  } finally {
    await log.close();
  }
}

/** Appends an entry to the log of a shard; resolves to its index. */
export function plantEntry(
  config: Pick<NodeConfig, 'dataPath'>,
  shardId: number,
  payload: Uint8Array,
): Promise<bigint> {
  return plantEntries(config, { shardId, count: 1 }, payload);
}

/** Appends an entry to the log of a shard so many times; resolves to the index of the last. */
export function plantEntries(
  config: Pick<NodeConfig, 'dataPath'>,
  { shardId, count }: { readonly shardId: number; readonly count: number },
  payload: Uint8Array,
): Promise<bigint> {
  return withLog(config, async (log) => {
    const { term, headIndex } = await log.engine(shardId).elect();
    for (let index = headIndex + 1n; index <= headIndex + BigInt(count); index++) {
      const { outcome } = await log.engine(shardId).append({ term, index, payload });
      if (outcome !== 'done') throw new Error(`the planted entry was not appended: ${outcome}`);
    }
    return headIndex + BigInt(count);
  });
}

/** The payload of the last entry of a shard. */
export function lastEntry(
  config: Pick<NodeConfig, 'dataPath'>,
  shardId: number,
): Promise<Uint8Array> {
  return withLog(config, async (log) => {
    const { headIndex } = await log.engine(shardId).bounds();
    for await (const [entry] of log.engine(shardId).read({ from: headIndex, follow: false })) {
      if (entry) return entry.payload;
    }
    throw new Error(`shard ${shardId} has an entry`);
  });
}
