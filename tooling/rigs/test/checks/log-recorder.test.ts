/** The recorder against a real etcd: it must miss nothing, whatever happens to single members. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { base64, callEtcd } from '../../src/checks/etcd-gateway.ts';
import { LogRecorder } from '../../src/checks/log-recorder.ts';
import { within } from '../../src/run/settling.ts';
import { World } from '../../src/world/world.ts';

const PREFIX = '/raftseal';
const CATCH_UP_MS = 20_000;

const closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function etcdWorld(): Promise<World> {
  const directory = mkdtempSync(join(tmpdir(), 'raftseal-rigs-'));
  closing.push(async () => rmSync(directory, { recursive: true, force: true }));
  const world = await World.make({
    directory: join(directory, 'world'),
    hosts: 'loopback',
    shardCount: 1,
    encryption: 'off',
    leaseTtlMs: 3_000,
    program: '',
  });
  closing.push(() => world.kill());
  world.startEtcd();
  return world;
}

function recorderOf(world: World): LogRecorder {
  const recorder = new LogRecorder({ ...world.etcd, prefix: PREFIX });
  closing.push(() => recorder.stop());
  recorder.start();
  return recorder;
}

/** Puts an entry where there is none: asked again after no answer, it changes nothing. */
async function append(world: World, index: number): Promise<void> {
  const { key, value } = entryAt(index);
  const compare = [{ key, target: 'VERSION', result: 'EQUAL', version: '0' }];
  await answered(world, 'kv/txn', { compare, success: [{ request_put: { key, value } }] });
}

function entryAt(index: number): { readonly key: string; readonly value: string } {
  const value = Buffer.alloc(20, index);
  value[13] = 0x43;
  const key = base64(`${PREFIX}/logs/5/${index.toString(16).padStart(16, '0')}`);
  return { key, value: value.toString('base64') };
}

async function answered(
  world: World,
  path: string,
  body: Readonly<Record<string, unknown>>,
): Promise<void> {
  const call = (): Promise<boolean> =>
    callEtcd(world.etcd, path, body).then(
      () => true,
      () => false,
    );
  expect(await within(CATCH_UP_MS, call)).toBe(true);
}

const indexes = (recorder: LogRecorder): number[] =>
  (recorder.logs.get(5) ?? []).map(({ index }) => Number(index));

describe('the recorder of the logs', () => {
  it('has every entry, those from before it and those that were deleted, over a dead member', async () => {
    const world = await etcdWorld();
    await append(world, 1);
    const recorder = recorderOf(world);
    await append(world, 2);
    await recorder.catchUp(CATCH_UP_MS);
    await answered(world, 'kv/deleterange', { key: entryAt(1).key });
    await world.members[0]?.process.kill();
    await append(world, 3);
    await recorder.catchUp(CATCH_UP_MS);
    expect(indexes(recorder)).toEqual([1, 2, 3]);
    expect(recorder.problems).toEqual([]);
  });

  it('leaves a member that stands still', async () => {
    const world = await etcdWorld();
    const recorder = recorderOf(world);
    await append(world, 1);
    await recorder.catchUp(CATCH_UP_MS);
    world.members[0]?.process.pause();
    await append(world, 2);
    await recorder.catchUp(CATCH_UP_MS);
    expect(indexes(recorder)).toEqual([1, 2]);
  });

  it('reports an entry that was written twice, and what etcd has compacted away', async () => {
    const world = await etcdWorld();
    await append(world, 1);
    await append(world, 2);
    await callEtcd(world.etcd, 'kv/compaction', { revision: '3' }, CATCH_UP_MS);
    const recorder = recorderOf(world);
    await answered(world, 'kv/put', entryAt(2));
    await recorder.catchUp(CATCH_UP_MS);
    expect(new Set(recorder.problems)).toEqual(
      new Set([
        'etcd was compacted to 3: entries were missed',
        'entry 2 of shard 5 was written again',
      ]),
    );
  });
});
