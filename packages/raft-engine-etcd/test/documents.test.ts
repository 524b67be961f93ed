import { describe, expect, it } from 'vitest';
import { clearEtcdPrefix, type Document, isEtcdPrefixEmpty } from '../src/index.ts';
import { useEtcd } from './cluster.ts';
import { lost } from './proxy.ts';
import { code, until } from './samples.ts';

const cluster = useEtcd();
function put(name: string, text: string) {
  return { put: name, value: Buffer.from(text) };
}

function texts(documents: Iterable<Document>): Record<string, string> {
  const entries = [...documents].map(({ name, value }) => [name, Buffer.from(value).toString()]);
  return Object.fromEntries(entries);
}

describe('writes', () => {
  it('change several documents at once, or none', async () => {
    const { documents } = await cluster.open();
    expect(await documents.write([put('d/1', 'one'), put('d/2', 'two')])).toBe(true);
    const first = await documents.get('d/1');
    expect(first).toMatchObject({ name: 'd/1', createRevision: first?.revision });
    const revision = first?.revision ?? 0n;
    const next = [put('d/1', 'uno'), { remove: 'd/2' }, put('d/3', 'tre')];
    expect(await documents.write(next, [{ absent: 'd/1' }])).toBe(false);
    expect(await documents.write(next, [{ name: 'd/1', revision: revision + 1n }])).toBe(false);
    expect(texts(await documents.list('d/'))).toEqual({ 'd/1': 'one', 'd/2': 'two' });
    const conditions = [{ name: 'd/1', revision }, { absent: 'd/3' }];
    expect(await documents.write(next, conditions)).toBe(true);
    expect(texts(await documents.list('d/'))).toEqual({ 'd/1': 'uno', 'd/3': 'tre' });
    expect(await documents.get('d/2')).toBeUndefined();
    const again = await documents.get('d/1');
    expect(again?.createRevision).toBe(revision);
    expect(again?.revision).toBeGreaterThan(revision);
  });

  it('can insist on a leadership', async () => {
    const log = await cluster.open();
    const leadership = await log.engine(7).elect();
    const { term } = leadership;
    const condition = [{ leads: 7, term }];
    expect(await log.documents.write([put('d', '1')], condition)).toBe(true);
    expect(await log.documents.write([put('d', '2')], [{ leads: 7, term: term + 1n }])).toBe(false);
    expect(await log.documents.write([put('d', '2')], [{ leads: 0, term }])).toBe(false);
    const [leader] = await log.documents.list('leaders/');
    expect(leader).toMatchObject({ name: 'leaders/7', createRevision: term });
    await leadership.resign();
    expect(await log.documents.write([put('d', '2')], condition)).toBe(false);
    await expect(log.documents.write([put('d', '2')], [{ leads: 7, term: 0n }])).rejects.toThrow(
      RangeError,
    );
  });

  it('of two nodes under one condition only one is made', async () => {
    const logs = await Promise.all(['a', 'b', 'c'].map((nodeId) => cluster.open({ nodeId })));
    const made = await Promise.all(
      logs.map(({ documents }, place) =>
        documents.write([put('claim', `${place}`)], [{ absent: 'claim' }]),
      ),
    );
    expect(made.filter((isMade) => isMade)).toHaveLength(1);
    const claim = await logs[0]?.documents.get('claim');
    expect(Buffer.from(claim?.value ?? []).toString()).toBe(`${made.indexOf(true)}`);
  });

  it('a document bound to the session goes with it', async () => {
    const log = await cluster.open();
    const other = await cluster.open({ nodeId: 'b' });
    await log.documents.write([{ ...put('bound', 'x'), whileAlive: true }, put('free', 'y')]);
    expect(await other.documents.get('bound')).toBeDefined();
    await log.close();
    expect(await other.documents.get('bound')).toBeUndefined();
    expect(await other.documents.get('free')).toBeDefined();
  });

  it('leave alone what is the log’s own, and what is too much', async () => {
    const { documents } = await cluster.open();
    const names = ['logs/7/x', 'leaders/7', 'nodes/a', 'floors/7', 'sync', 'writes/a', '', 'a b'];
    for (const name of [...names, '/a', 'a/', 'é']) {
      await expect(documents.write([put(name, 'x')]), name).rejects.toThrow(TypeError);
    }
    const many = Array.from({ length: 51 }, (_, place) => put(`d/${place}`, 'x'));
    await expect(documents.write(many)).rejects.toThrow(RangeError);
    const large = { put: 'large', value: Buffer.alloc(1_500_000) };
    await expect(documents.write([large])).rejects.toEqual(
      code('RAFTSEAL_ENGINE_PAYLOAD_TOO_LARGE'),
    );
    expect(await documents.write(many.slice(1))).toBe(true);
    expect(await documents.write([])).toBe(true);
  });
});

describe('a write whose answer is lost', () => {
  it.each(['made', 'unmade'])('is made once, whether or not it was (%s)', async (when) => {
    const proxy = await cluster.proxy();
    const { documents } = await cluster.open({ access: { endpoints: [proxy.endpoint] } });
    let losses = 2;
    proxy.intercept = async (method, request, forward) => {
      if (method !== 'KV.Txn' || losses === 0) return forward(request);
      losses -= 1;
      if (when === 'made') await forward(request);
      throw lost();
    };
    expect(await documents.write([put('claim', 'mine')], [{ absent: 'claim' }])).toBe(true);
    expect(await documents.write([put('claim', 'mine')], [{ absent: 'claim' }])).toBe(false);
    const claim = await documents.get('claim');
    expect(claim?.revision).toBe(claim?.createRevision);
  });

  it('has no effect when it arrives after a later write of this node', async () => {
    const proxy = await cluster.proxy();
    const access = { endpoints: [proxy.endpoint], requestTimeoutMs: 300 };
    const { documents } = await cluster.open({ access });
    await documents.write([put('d', 'old')]);
    const late: (() => Promise<object>)[] = [];
    proxy.intercept = async (method, request, forward) => {
      if (method !== 'KV.Txn') return forward(request);
      late.push(() => forward(request));
      throw lost();
    };
    const error = await documents.write([put('d', 'late')]).catch((thrown: unknown) => thrown);
    expect(error).toEqual(code('RAFTSEAL_ENGINE_UNAVAILABLE'));
    expect(String(error)).toContain('may have been written');
    proxy.intercept = undefined;
    expect(await documents.write([put('d', 'new')])).toBe(true);
    for (const make of late) await make();
    expect(texts(await documents.list('d'))).toEqual({ d: 'new' });
  });
});

describe('watches', () => {
  it('show the whole state first, then again after each change', async () => {
    const { documents } = await cluster.open();
    await documents.write([put('w/1', 'one'), put('x', 'not this')]);
    const stop = new AbortController();
    const states: Record<string, string>[] = [];
    const watching = (async () => {
      for await (const state of documents.watch('w/', { signal: stop.signal })) {
        states.push(texts(state.values()));
      }
    })();
    await until(() => states.length === 1);
    await documents.write([put('w/2', 'two')]);
    await until(() => states.length === 2);
    await documents.write([{ remove: 'w/1' }, put('w/2', 'due')]);
    await until(() => states.length === 3);
    stop.abort();
    await watching;
    const both = { 'w/1': 'one', 'w/2': 'two' };
    expect(states).toEqual([{ 'w/1': 'one' }, both, { 'w/2': 'due' }]);
  });

  it('tell who lives and who leads', async () => {
    const log = await cluster.open({ presence: Buffer.from('at a') });
    const { documents } = await cluster.open({ nodeId: 'b', presence: Buffer.from('at b') });
    const stop = new AbortController();
    const { signal } = stop;
    let nodes: Record<string, string> = {};
    let leaders: Record<string, string> = {};
    const watching = Promise.all([
      (async () => {
        for await (const state of documents.watch('nodes/', { signal }))
          nodes = texts(state.values());
      })(),
      (async () => {
        for await (const state of documents.watch('leaders/', { signal })) {
          leaders = texts(state.values());
        }
      })(),
    ]);
    await log.engine(7).elect();
    await until(() => Object.keys(leaders).length === 1);
    expect(leaders).toEqual({ 'leaders/7': 'a' });
    await until(() => Object.keys(nodes).length === 2);
    expect(nodes).toEqual({ 'nodes/a': 'at a', 'nodes/b': 'at b' });
    await log.close();
    await until(() => Object.keys(nodes).length === 1 && Object.keys(leaders).length === 0);
    stop.abort();
    await watching;
  });

  it('show more documents than one page has, and end with the log', async () => {
    const log = await cluster.open();
    for (let batch = 0; batch < 30; batch++) {
      const changes = Array.from({ length: 40 }, (_, place) => put(`m/${batch}/${place}`, 'x'));
      await log.documents.write(changes);
    }
    const watch = log.documents.watch('m/', { signal: new AbortController().signal });
    const iterator = watch[Symbol.asyncIterator]();
    expect((await iterator.next()).value?.size).toBe(1200);
    expect(await log.documents.list('m/')).toHaveLength(1200);
    const next = iterator.next();
    await log.close();
    expect((await next).done).toBe(true);
    await expect(log.documents.get('m/1/1')).rejects.toEqual(code('RAFTSEAL_ENGINE_CLOSED'));
  });
});

it('members are who the application has written down, and who is plainly a voter votes', async () => {
  const log = await cluster.open();
  expect(await log.engine(7).members()).toEqual([{ nodeId: 'a', role: 'voter' }]);
  await log.documents.write([
    put('members/a', '{"role":"voter","address":"somewhere"}'),
    put('members/b', '{"role":"learner"}'),
    put('members/c', 'what is this'),
  ]);
  expect(await log.engine(0).members()).toEqual([
    { nodeId: 'a', role: 'voter' },
    { nodeId: 'b', role: 'learner' },
    { nodeId: 'c', role: 'learner' },
  ]);
});

it('a prefix is empty before anything is under it, and after all of it was removed', async () => {
  const { prefix, etcd } = cluster;
  const access = { endpoints: etcd.endpoints };
  expect(await isEtcdPrefixEmpty(access, prefix)).toBe(true);
  await etcd.etcdctl('put', `${prefix}0`, 'the next prefix');
  const log = await cluster.open();
  await log.documents.write([put('d', '1')]);
  await log.close();
  expect(await isEtcdPrefixEmpty(access, prefix)).toBe(false);
  await clearEtcdPrefix(access, prefix);
  expect(await isEtcdPrefixEmpty(access, prefix)).toBe(true);
  expect(await etcd.etcdctl('get', `${prefix}0`)).toContain('the next prefix');
});
