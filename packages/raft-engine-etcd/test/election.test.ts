import { expect, it } from 'vitest';
import { useEtcd } from './cluster.ts';
import { appendRange, code, until } from './samples.ts';

const cluster = useEtcd();

async function leaderKey(shardId: number): Promise<string> {
  const key = `${cluster.prefix}/leaders/${shardId}`;
  return (await cluster.etcd.etcdctl('get', '--print-value-only', key)).trimEnd();
}

it('who yields longer is elected where nobody else stands, and not before others', async () => {
  const slow = (await cluster.open()).engine(7);
  const fast = (await cluster.open({ nodeId: 'b' })).engine(7);
  let asked = 0;
  const stop = new AbortController();
  const candidacy = slow.elect(stop.signal, {
    yieldMs: () => {
      asked += 1;
      return 700;
    },
  });
  await until(() => asked === 1);
  const leadership = await fast.elect();
  await until(async () => (await leaderKey(7)) === 'b');
  await leadership.resign();
  const own = await candidacy;
  expect(asked).toBe(2);
  expect(own.term).toBeGreaterThan(leadership.term);
});

it('leaderships spread where nodes yield to one another', async () => {
  const shardIds = [0, 1, 2, 3, 4, 5];
  const logs = await Promise.all(
    ['a', 'b', 'c'].map((nodeId) => cluster.open({ nodeId, shardIds })),
  );
  const leaders = await Promise.all(
    shardIds.map((shardId) => {
      const stop = new AbortController();
      const candidacies = logs.map(async (log, place) => {
        const yieldMs = (): number => (shardId % 3 === place ? 0 : 10_000);
        await log.engine(shardId).elect(stop.signal, { yieldMs });
        stop.abort();
        return place;
      });
      return Promise.any(candidacies);
    }),
  );
  expect(leaders).toEqual([0, 1, 2, 0, 1, 2]);
});

it('a key of this session that no reign stands for is given back', async () => {
  const log = await cluster.open();
  const lease = await cluster.leaseOf('a');
  await cluster.etcd.etcdctl('put', `${cluster.prefix}/leaders/7`, 'a', '--lease', lease);
  await until(async () => (await leaderKey(7)) === '');
  await log.engine(7).elect();
});

it('a leader key that is taken away ends the leadership', async () => {
  const engine = (await cluster.open()).engine(7);
  const leadership = await engine.elect();
  await cluster.etcd.etcdctl('del', `${cluster.prefix}/leaders/7`);
  await until(() => leadership.signal.aborted);
  expect(leadership.isCurrent()).toBe(false);
  expect(await leadership.confirm()).toBe(false);
  await engine.elect();
});

it('a node that stands again gives its leadership up first, and keeps what it appended', async () => {
  const log = await cluster.open();
  const engine = log.engine(7);
  const first = await engine.elect();
  await appendRange(engine, first, 1n, 3n);
  const second = await engine.elect();
  expect(first.signal.aborted).toBe(true);
  expect(second.headIndex).toBe(3n);
  expect(second.term).toBeGreaterThan(first.term);
});

it('a confirmation is true for the leader, and false once another is elected', async () => {
  const log = await cluster.open();
  const rival = await cluster.open({ nodeId: 'b' });
  const [one, other] = await Promise.all([log.engine(0).elect(), log.engine(7).elect()]);
  expect(await Promise.all([one, other, other].map((each) => each.confirm()))).toEqual([
    true,
    true,
    true,
  ]);
  await other.resign();
  await rival.engine(7).elect();
  expect(await Promise.all([one.confirm(), other.confirm()])).toEqual([true, false]);
  await log.close();
  await expect(one.confirm()).rejects.toEqual(code('RAFTSEAL_ENGINE_CLOSED'));
});

it('elections and appends of a log that is closed end', async () => {
  const log = await cluster.open();
  const rival = await cluster.open({ nodeId: 'b' });
  await rival.engine(7).elect();
  const waiting = expect(log.engine(7).elect()).rejects.toEqual(code('RAFTSEAL_ENGINE_CLOSED'));
  const reading = log.engine(0).read({ from: 1n, follow: true })[Symbol.asyncIterator]().next();
  await log.close();
  await waiting;
  expect((await reading).done).toBe(true);
  expect(() => log.engine(0)).toThrow(code('RAFTSEAL_ENGINE_CLOSED') as Error);
});

it('a shard that the log was not opened for is unknown', async () => {
  const log = await cluster.open();
  expect(() => log.engine(3)).toThrow(code('RAFTSEAL_ENGINE_SHARD_UNKNOWN') as Error);
});
