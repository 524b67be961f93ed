/** Three members that are killed, hang and come back while a leader appends and others follow. */
import type { Leadership, RaftEngine } from '@raftseal/interface';
import { expect, it } from 'vitest';
import { useEtcd } from './cluster.ts';
import { appendOne, appendRange, expectEntries, followThrough, readAll, until } from './samples.ts';

const cluster = useEtcd({ members: 3 });

/** Endpoints in an order of its own, so that nodes do not all use the same member. */
function accessFrom(place: number) {
  const { endpoints } = cluster.etcd;
  return { endpoints: [...endpoints.slice(place), ...endpoints.slice(0, place)] };
}

/** Appends entry after entry until told to stop, and stands for election as often as it must. */
class Writer {
  readonly #engine: RaftEngine;
  #stopping = false;
  #acknowledged = 0n;
  readonly #ended: Promise<void>;

  constructor(engine: RaftEngine) {
    this.#engine = engine;
    this.#ended = this.#write();
  }

  get acknowledged(): bigint {
    return this.#acknowledged;
  }

  /** Resolves with the last index that was acknowledged. */
  async stop(): Promise<bigint> {
    this.#stopping = true;
    await this.#ended;
    return this.#acknowledged;
  }

  /** Resolves once so many more are acknowledged. */
  async more(count: bigint): Promise<void> {
    const goal = this.#acknowledged + count;
    await until(() => this.#acknowledged >= goal);
  }

  async #write(): Promise<void> {
    while (!this.#stopping) {
      const leadership = await this.#engine.elect();
      expect(leadership.headIndex).toBeGreaterThanOrEqual(this.#acknowledged);
      await this.#reign(leadership);
    }
  }

  async #reign(leadership: Leadership): Promise<void> {
    let index = leadership.headIndex + 1n;
    let isSettled = true;
    while (!this.#stopping || !isSettled) {
      const { outcome } = await appendOne(this.#engine, leadership, index);
      isSettled = outcome !== 'ambiguous';
      if (outcome === 'fenced') return;
      if (outcome === 'done') {
        this.#acknowledged = index;
        index += 1n;
      } else await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

it('invariant 2: members killed and hanging in turn lose no entry, and no reader misses one', async () => {
  const log = await cluster.open({ access: accessFrom(0) });
  const follower = await cluster.open({ nodeId: 'b', access: accessFrom(1) });
  const writer = new Writer(log.engine(7));
  await writer.more(20n);
  const stop = new AbortController();
  const indexes: bigint[] = [];
  const following = (async () => {
    const request = { from: 1n, follow: true, signal: stop.signal };
    for await (const chunk of follower.engine(7).read(request)) {
      indexes.push(...chunk.map(({ index }) => index));
    }
  })();
  for (const place of [0, 1, 2]) {
    const member = cluster.etcd.member(place);
    await member.kill();
    await writer.more(20n);
    await member.restart();
    member.pause();
    await writer.more(20n);
    member.resume();
  }
  const last = await writer.stop();
  expectEntries((await readAll(follower.engine(7))).slice(0, Number(last)), 1n, last);
  await until(() => (indexes.at(-1) ?? 0n) >= last);
  stop.abort();
  await following;
  expect(indexes).toEqual(indexes.map((_, place) => BigInt(place + 1)));
});

it('a member that hangs is left: by appends, by readers, and by who asks for documents', async () => {
  const log = await cluster.open({ access: accessFrom(0) });
  const follower = await cluster.open({ nodeId: 'b', access: accessFrom(0) });
  const engine = log.engine(7);
  const leadership = await engine.elect();
  await appendRange(engine, leadership, 1n, 3n);
  const following = followThrough(follower.engine(7), 1n, 8n);
  const [first = ''] = cluster.etcd.endpoints;
  expect([log.status().endpoint, follower.status().endpoint]).toEqual([first, first]);
  cluster.etcd.member(0).pause();
  const writer = new Writer(engine);
  await writer.more(5n);
  expect((await following).length).toBeGreaterThanOrEqual(8);
  expect(await follower.documents.list('nodes/')).toHaveLength(2);
  expect(log.status().endpoint).not.toBe(first);
  cluster.etcd.member(0).resume();
  await writer.stop();
});

it('invariant 12: with a majority gone leadership lapses, and comes back with it', async () => {
  const access = { ...accessFrom(0), requestTimeoutMs: 700 };
  const log = await cluster.open({ access, leaseTtlMs: 2_000 });
  const engine = log.engine(7);
  const leadership = await engine.elect();
  await appendRange(engine, leadership, 1n, 2n);
  await Promise.all([0, 1].map((place) => cluster.etcd.member(place).kill()));
  await until(() => !leadership.isCurrent());
  expect(leadership.signal.aborted).toBe(true);
  await expect(leadership.confirm()).rejects.toMatchObject({ code: 'RAFTSEAL_ENGINE_UNAVAILABLE' });
  await expect(engine.bounds()).rejects.toMatchObject({ code: 'RAFTSEAL_ENGINE_UNAVAILABLE' });
  const candidacy = engine.elect();
  await Promise.all([0, 1].map((place) => cluster.etcd.member(place).restart()));
  const again = await candidacy;
  expect(again.headIndex).toBe(2n);
  await appendRange(engine, again, 3n, 4n);
});
