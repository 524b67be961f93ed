import { expect, it } from 'vitest';
import type { Document } from '../src/index.ts';
import { useEtcd } from './cluster.ts';
import { appendRange, expectEntries, followThrough, readAll, until } from './samples.ts';

const cluster = useEtcd();

/** Makes etcd forget everything but the present. */
async function compactNow(): Promise<void> {
  const put = await cluster.etcd.etcdctl('put', 'elsewhere', 'x', '-w', 'json');
  await cluster.etcd.etcdctl('compact', /"revision":(\d+)/.exec(put)?.[1] ?? '');
}

it('a reader that is slower than compaction gets every entry', async () => {
  const engine = (await cluster.open()).engine(7);
  const leadership = await engine.elect();
  await appendRange(engine, leadership, 1n, 5n);
  const reader = engine.read({ from: 1n, follow: true })[Symbol.asyncIterator]();
  const entries = [...((await reader.next()).value ?? [])];
  await appendRange(engine, leadership, 6n, 300n);
  await compactNow();
  await appendRange(engine, leadership, 301n, 320n);
  while (entries.length < 320) entries.push(...((await reader.next()).value ?? []));
  expectEntries(entries, 1n, 320n);
  await reader.return?.();
});

it('a reader that does not ask is held up by nothing, and holds nothing up', async () => {
  const engine = (await cluster.open()).engine(7);
  const leadership = await engine.elect();
  await appendRange(engine, leadership, 1n, 1n);
  const reader = engine.read({ from: 1n, follow: true })[Symbol.asyncIterator]();
  const entries = [...((await reader.next()).value ?? [])];
  const waiting = reader.next();
  // More than a reader holds for who does not ask.
  await appendRange(engine, leadership, 2n, 12n, 1024 * 1024);
  await compactNow();
  entries.push(...((await waiting).value ?? []));
  while (entries.length < 12) entries.push(...((await reader.next()).value ?? []));
  expectEntries(entries, 1n, 12n);
  await reader.return?.();
});

it('watches that lost their place while etcd was away go on', async () => {
  const log = await cluster.open();
  const rival = await cluster.open({ nodeId: 'b' });
  const engine = log.engine(7);
  const leadership = await engine.elect();
  await appendRange(engine, leadership, 1n, 3n);
  const following = followThrough(rival.engine(7), 1n, 6n);
  const stop = new AbortController();
  const seen: ReadonlyMap<string, Document>[] = [];
  const watching = (async () => {
    for await (const state of rival.documents.watch('doc/', { signal: stop.signal })) {
      seen.push(state);
      if (state.has('doc/two')) stop.abort();
    }
  })();
  await log.documents.write([{ put: 'doc/one', value: Buffer.of(1) }]);
  await until(() => seen.at(-1)?.has('doc/one') === true);
  await appendRange(engine, leadership, 4n, 5n);
  await compactNow();
  await cluster.etcd.member(0).restart();
  await compactNow();
  await log.documents.write([{ put: 'doc/two', value: Buffer.of(2) }, { remove: 'doc/one' }]);
  await watching;
  expect([...(seen.at(-1)?.keys() ?? [])]).toEqual(['doc/two']);
  const next = leadership.isCurrent() ? leadership : await engine.elect();
  await until(async () => {
    const { outcome } = await engine.append({
      term: next.term,
      index: 6n,
      payload: (await readAll(engine, 5n))[0]?.payload ?? Buffer.alloc(0),
    });
    return outcome === 'done';
  });
  expect((await following).map(({ index }) => index)).toEqual([1n, 2n, 3n, 4n, 5n, 6n]);
});

it('a node that waits for a leadership gets it, though the news of its end was compacted', async () => {
  const log = await cluster.open();
  const rival = await cluster.open({ nodeId: 'b' });
  const leadership = await log.engine(7).elect();
  const candidacy = rival.engine(7).elect();
  await cluster.etcd.member(0).stop();
  const resigned = leadership.resign();
  await cluster.etcd.member(0).restart();
  await resigned;
  await compactNow();
  expect((await candidacy).term).toBeGreaterThan(leadership.term);
});

it('the log compacts what is old enough, and nothing else', async () => {
  const log = await cluster.open({ compactAfterMs: 0 });
  const patient = await cluster.open({ nodeId: 'b', compactAfterMs: 60_000 });
  await until(() => log.status().dbBytes > 0 && patient.status().dbBytes > 0);
  await cluster.etcd.etcdctl('put', 'elsewhere', 'before');
  const old = await cluster.etcd.etcdctl('get', 'elsewhere', '-w', 'json');
  const revision = Number(/"revision":(\d+)/.exec(old)?.[1]);
  await cluster.etcd.etcdctl('put', 'elsewhere', 'after');
  await patient.compact();
  const read = () => cluster.etcd.etcdctl('get', 'elsewhere', `--rev=${revision - 1}`);
  await read();
  await until(async () => {
    await log.compact();
    return read().then(
      () => false,
      (error: unknown) => String(error).includes('compacted'),
    );
  });
});
