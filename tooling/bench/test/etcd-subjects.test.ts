/** What the benchmark over etcd compares, over a real etcd. */
import { type EtcdCluster, startEtcd } from '@raftseal/etcd-for-tests';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closedLoop } from '../src/etcd/closed-loop.ts';
import { PlainEtcd } from '../src/etcd/plain-etcd.ts';
import { type Commit, openSealedShards } from '../src/etcd/sealed-shards.ts';
import { closing } from '../src/teardown.ts';

let etcd: EtcdCluster;
let plain: PlainEtcd;

beforeAll(async () => {
  etcd = await startEtcd();
  plain = new PlainEtcd(etcd.endpoints[0] ?? '');
});

afterAll(async () => {
  plain.close();
  await etcd.close();
});

const loop = { callers: 4, warmUpMs: 20, durationMs: 500 };

async function keysUnder(prefix: string): Promise<readonly string[]> {
  const found = await etcd.etcdctl('get', prefix, '--prefix', '--keys-only');
  return found.split('\n').filter((line) => line !== '');
}

async function commitsOf(shardCount: number, commit: Commit): Promise<readonly string[]> {
  const { endpoints } = etcd;
  const prefix = `shards-${commit.replaceAll(' ', '-')}`;
  await closing(async (teardown) => {
    const options = { endpoints, prefix, shardCount, commit, spaceBytesMax: 2 ** 31 };
    const groups = await openSealedShards(options, teardown);
    expect(groups.map(({ wrap }) => wrap.kind)).toEqual(groups.map(() => 'sealed'));
    const result = await closedLoop((caller, done) => {
      groups[caller % shardCount]?.propose(Buffer.from('written by a caller'), done);
    }, loop);
    expect(result.perSecond).toBeGreaterThan(0);
    expect(groups.every(({ appliedIndex }) => appliedIndex > 1n)).toBe(true);
  });
  return keysUnder(prefix);
}

describe('proposals over etcd', () => {
  it('go through sealed shards of one node, in one transaction for all of them', async () => {
    const keys = await commitsOf(2, 'one transaction for all shards');
    expect(keys.filter((key) => key.includes('/processes/'))).toHaveLength(1);
    expect(keys.some((key) => key.includes('/logs/1/'))).toBe(true);
  });

  it('go through sealed shards of a node each, in one transaction per shard', async () => {
    const keys = await commitsOf(2, 'one transaction per shard');
    expect(keys.filter((key) => key.includes('/processes/'))).toHaveLength(2);
    expect(keys.some((key) => key.includes('/logs/1/'))).toBe(true);
  });
});

describe('plain puts', () => {
  it('write a key each, and what they have written is cleared away', async () => {
    let puts = 0;
    await closedLoop((_, done) => {
      puts += 1;
      plain.put(Buffer.from(`plain/${puts}`), Buffer.from('a value'), done);
    }, loop);
    expect(await keysUnder('plain/')).toHaveLength(puts);
    await plain.clear('plain/');
    expect(await keysUnder('plain/')).toEqual([]);
  });
});
