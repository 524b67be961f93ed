/** What a node does about disks that are damaged, forged or put together from different times. */
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KIND_DATA, TAG_CLEARTEXT, TAG_SEALED } from '@raftseal/shard-group';
import { SIDECAR_FILE_NAME } from '@raftseal/sidecar';
import { open } from 'lmdb';
import { describe, expect, it } from 'vitest';
import type { NodeConfig } from '../src/config.ts';
import { dataDirectoryPaths } from '../src/data-directory.ts';
import { kekFromUri } from '../src/kek-from-uri.ts';
import { type Node, startNode } from '../src/node.ts';
import {
  adminCall,
  clientOf,
  keyOf,
  lastEntry,
  newConfig,
  plantEntry,
  running,
  SHARD_COUNT,
} from './running-node.ts';
import { editSidecar } from './sidecar-edit.ts';

const forged = Buffer.concat([Buffer.from([TAG_CLEARTEXT, KIND_DATA]), Buffer.alloc(12)]);

/** A node that sealed a value in each shard, and was stopped. */
async function stoppedNode(config: NodeConfig = newConfig()): Promise<NodeConfig> {
  const node = await running(config);
  for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
    await clientOf(node).set(keyOf(shardId), `in shard ${shardId}`);
  }
  await node.stop();
  return config;
}

function haltCodes(node: Node): readonly (string | null)[] {
  return node.admin.status().shards.map(({ haltCode }) => haltCode);
}

async function metric(node: Node, line: string): Promise<boolean> {
  return (await node.admin.metrics()).text.split('\n').includes(line);
}

/** Changes the one sealed row of a shard's store. */
async function editRow(
  { dataPath }: NodeConfig,
  shardId: number,
  edit: (row: Buffer) => void,
): Promise<void> {
  const path = join(dataDirectoryPaths(dataPath).shards, `${shardId}`, 'store');
  const binary = { keyEncoding: 'binary', encoding: 'binary' } as const;
  const root = open<Buffer, Buffer>({ path, maxDbs: 16, ...binary });
  let edited = 0;
  for (const name of [...root.getKeys()].map(String)) {
    const table = root.openDB<Buffer, Buffer>({ name, ...binary });
    for (const { key, value } of Array.from(table.getRange())) {
      // Rows have a name of 32 bytes, and an envelope in their value.
      if (key.length !== 32) continue;
      const row = Buffer.from(value);
      edit(row);
      await table.put(key, row);
      edited++;
    }
  }
  await root.close();
  expect(edited).toBe(1);
}

function flipLastBit(row: Buffer): void {
  row[row.length - 1] = (row.at(-1) ?? 0) ^ 1;
}

/** Behind the header of the row, version and flag of its envelope. */
function renameDek(row: Buffer): void {
  row.writeUInt32BE(999, 9 + 2);
}

describe('a shard whose log was forged', () => {
  it('invariant 6: halts, serves nothing, and leaves the others serving', async () => {
    const config = await stoppedNode();
    const index = await plantEntry(config, 1, forged);
    const node = await running(config);
    expect(haltCodes(node)).toEqual([null, 'RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER', null]);
    const client = clientOf(node);
    for (const shardId of [0, 2]) {
      expect(await client.get(keyOf(shardId))).toBe(`in shard ${shardId}`);
      expect(await client.set(keyOf(shardId, 1), 'new')).toBe('OK');
    }
    await expect(client.get(keyOf(1))).rejects.toThrow();
    await expect(client.set(keyOf(1), 'new')).rejects.toThrow();
    expect(node.admin.status().shards[1]).toMatchObject({
      state: 'halted',
      appliedIndex: `${index - 1n}`,
    });
    await node.stop();
  });

  it('turns health red, and shows in metrics, in INFO and to verify', async () => {
    const config = await stoppedNode();
    const index = await plantEntry(config, 1, forged);
    const node = await running(config);
    const health = await fetch(`http://127.0.0.1:${node.adminPort}/health`);
    expect([health.status, await health.json()]).toEqual([503, { status: 'unavailable' }]);
    expect(await metric(node, 'raftseal_shard_halted{shard="1"} 1')).toBe(true);
    expect(await metric(node, 'raftseal_shard_halted{shard="2"} 0')).toBe(true);
    expect(await metric(node, 'raftseal_shard_serving{shard="1"} 0')).toBe(true);
    expect(await clientOf(node).info('raftseal')).toContain('shards_halted:1');
    const report = await node.admin.verify();
    expect(report).toMatchObject({ clean: false, sealedThroughout: false });
    expect(report.problems).toEqual([
      expect.stringMatching(`^entry ${index} of shard 1 .*: in the clear above the cutover$`),
    ]);
  });

  it('may be the control shard: then nothing new is sealed, and what is there is read', async () => {
    const config = await stoppedNode();
    await plantEntry(config, 0, forged);
    const node = await running(config);
    expect(haltCodes(node)).toEqual(['RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER', null, null]);
    const client = clientOf(node);
    expect(await client.get(keyOf(2))).toBe('in shard 2');
    await expect(client.set(keyOf(2), 'new')).rejects.toThrow(
      'RAFTSEAL_NODE_WRITER_NOT_REGISTERED',
    );
    const { status, text } = await adminCall(node, config, [
      'POST',
      '/v1/keys/rotate',
      { purpose: 'raft' },
    ]);
    expect([status, JSON.parse(text)]).toMatchObject([
      409,
      { code: 'RAFTSEAL_SHARD_GROUP_HALTED' },
    ]);
    await node.stop();
  });

  it('may be every shard: then the node does not start, and says which entry it was', async () => {
    const config = await stoppedNode();
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++)
      await plantEntry(config, shardId, forged);
    await expect(startNode(config)).rejects.toMatchObject({
      code: 'RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER',
      message: expect.stringMatching(/^entry \d+ of shard 0 /),
    });
  });

  it('invariant 7: halts at an envelope that was moved there from another shard', async () => {
    const config = await stoppedNode();
    const moved = await lastEntry(config, 1);
    expect(moved[0]).toBe(TAG_SEALED);
    await plantEntry(config, 2, moved);
    const node = await running(config);
    expect(haltCodes(node).slice(0, 2)).toEqual([null, null]);
    expect(haltCodes(node)[2]).toBe('RAFTSEAL_SHARD_GROUP_OPEN_FAILED');
    const labels = 'layer="log",reason="RAFTSEAL_ENVELOPE_INTEGRITY"';
    expect(await metric(node, `raftseal_open_failures_total{${labels}} 1`)).toBe(true);
    expect(await metric(node, 'raftseal_alarms{name="shard-halted"} 1')).toBe(true);
    await node.stop();
  });
});

describe('an entry under a DEK that no log brings', () => {
  it.each([0, 1])('invariant 6: halts shard %d of a node alone at its start', async (shardId) => {
    const config = await stoppedNode();
    const sealed = Buffer.from(await lastEntry(config, shardId));
    // Behind the tag, version and flag of the envelope.
    sealed.writeUInt32BE(999, 1 + 2);
    await plantEntry(config, shardId, sealed);
    const node = await running(config);
    const codes = [null, null, null].map((none, at) =>
      at === shardId ? 'RAFTSEAL_SHARD_GROUP_OPEN_FAILED' : none,
    );
    expect(haltCodes(node)).toEqual(codes);
    const labels = 'layer="log",reason="RAFTSEAL_ENVELOPE_UNKNOWN_DEK"';
    expect((await node.admin.metrics()).text).toContain(`raftseal_open_failures_total{${labels}}`);
  });
});

describe('a shard whose store was damaged', () => {
  const code = 'RAFTSEAL_KV_ROW_CORRUPT';

  it('invariant 6: serves no row that does not open, and shows it to verify', async () => {
    const config = await stoppedNode();
    await editRow(config, 1, flipLastBit);
    const node = await running(config);
    const client = clientOf(node);
    const report = await node.admin.verify();
    expect(report.problems).toEqual([
      expect.stringMatching(/^store of shard 1, row [0-9a-f]{16}: does not open/),
    ]);
    await expect(client.get(keyOf(1))).rejects.toThrow(code);
    await expect(client.scan(0)).resolves.toBeDefined();
    await expect(client.watch(keyOf(1))).rejects.toThrow(code);
  });

  it.each([
    { damage: 'was damaged on disk', edit: flipLastBit },
    { damage: 'is sealed under a DEK that is not there', edit: renameDek },
  ])('invariant 11: refuses writes that need a row that $damage, and goes on', async ({ edit }) => {
    const config = await stoppedNode();
    await editRow(config, 1, edit);
    const node = await running(config);
    const client = clientOf(node);
    const [bad, beside] = [keyOf(1), `{${keyOf(1)}}`];
    const needing = [
      'append bad v, getset bad v, setnx bad v, incrby bad 1, expire bad 9, pexpireat bad 9',
      'del bad, unlink bad, getdel bad, getex bad, incr bad, persist bad, set bad v get',
      'hset bad f v, hdel bad f, rename bad beside, copy beside bad, del beside bad',
    ].flatMap((line) => line.split(', '));
    const keys: Record<string, string> = { bad, beside };
    for (const line of needing) {
      const [name = '', ...args] = line.split(' ').map((word) => keys[word] ?? word);
      await expect(client.call(name, ...args), line).rejects.toThrow(`ERR ${code}: `);
    }
    await client.multi({ pipeline: false });
    await client.set(beside, 'never');
    await client.get(bad);
    await expect(client.exec()).rejects.toThrow(code);
    expect(haltCodes(node)).toEqual([null, null, null]);
    expect(node.admin.healthy).toBe(true);
    expect(await client.exists(beside)).toBe(0);
    expect(await client.set(beside, 'value')).toBe('OK');
    // Of a pipeline, the writes around it.
    const results = await client
      .pipeline()
      .append(beside, '!')
      .append(bad, '!')
      .incr(keyOf(1, 1))
      .exec();
    expect(results?.map(([error, reply]) => error?.message.includes(code) ?? reply)).toEqual([
      6,
      true,
      1,
    ]);
    expect(await client.set(bad, 'anew')).toBe('OK');
    expect(await client.append(bad, '!')).toBe(5);
    await node.stop();
    const again = clientOf(await running(config));
    expect(await again.mget(bad, beside)).toEqual(['anew!', 'value!']);
  });
});

describe('a data directory of parts from different times', () => {
  it('invariant 3: is refused with the key state of an earlier start', async () => {
    const config = await stoppedNode();
    const sidecar = join(dataDirectoryPaths(config.dataPath).keys, SIDECAR_FILE_NAME);
    const old = await readFile(sidecar);
    await stoppedNode(config);
    await writeFile(sidecar, old);
    await expect(startNode(config)).rejects.toMatchObject({
      code: 'RAFTSEAL_APPLIER_EPOCH_ROLLBACK',
    });
    expect(await readFile(sidecar)).toEqual(old);
  });

  it('invariant 1: is refused without its sidecar, in the clear as well as sealed', async () => {
    const config = await stoppedNode();
    await rm(join(dataDirectoryPaths(config.dataPath).keys, SIDECAR_FILE_NAME));
    for (const encryption of ['on', 'off'] as const) {
      await expect(startNode({ ...config, encryption })).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_SIDECAR_MISSING',
      });
    }
    expect(await readdir(dataDirectoryPaths(config.dataPath).keys)).toEqual(['writers']);
  });

  /** Puts the key state as of before the cutover in place, of the same nonce epochs. */
  async function forgetCutover({ dataPath, kekUris: [kekUri = ''] }: NodeConfig): Promise<void> {
    const kek = await kekFromUri(kekUri);
    await editSidecar(dataDirectoryPaths(dataPath).keys, kek, (state) => ({
      ...state,
      cutoverIndex: new Map(),
      cutoverIntent: undefined,
      appliedIndex: new Map([[0, state.storageIndex ?? 0n]]),
    }));
    await kek.close();
  }

  it('invariant 1: is refused with a sidecar from before the cutover, again and again', async () => {
    const config = await stoppedNode();
    await forgetCutover(config);
    for (const start of ['first', 'second']) {
      await expect(startNode(config), start).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG',
      });
    }
  });

  it('invariant 1: is so, too, after an idle node has let go of its log', async () => {
    const config = newConfig();
    const node = await running(config);
    const client = clientOf(node);
    for (let n = 0; n < 3; n++) await client.set(keyOf(1, n), 'value');
    const head = node.admin.status().shards[1]?.appliedIndex;
    const firstIndex = async (): Promise<string | undefined> =>
      (await node.admin.inspectLog({ shardId: 1, from: undefined, limit: 1 }))[0]?.index;
    while ((await firstIndex()) !== head) await new Promise((done) => setTimeout(done, 20));
    await node.stop();
    await forgetCutover(config);
    await expect(startNode(config)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG',
      message: expect.stringContaining(`entry ${head} of shard 1`),
    });
  });

  it('is refused with a log from before its store', async () => {
    const config = newConfig();
    await (await running(config)).stop();
    const { log } = dataDirectoryPaths(config.dataPath);
    await cp(log, `${log}-old`, { recursive: true });
    await stoppedNode(config);
    await rm(log, { recursive: true });
    await cp(`${log}-old`, log, { recursive: true });
    await rm(`${log}-old`, { recursive: true });
    await expect(startNode(config)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_LOG_BEHIND_STORE',
    });
  });
});
