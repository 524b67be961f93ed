import { describe, expect, it } from 'vitest';
import { type EtcdLogOptions, openEtcdLog, readEtcdDocuments } from '../src/index.ts';
import { useEtcd } from './cluster.ts';
import { appendOne, appendRange, code } from './samples.ts';

const cluster = useEtcd();

describe('options', () => {
  const valid = {
    access: { endpoints: ['http://127.0.0.1:1'] },
    prefix: 'p',
    nodeId: 'a',
    shardIds: [0],
  };

  it.each<[string, Partial<EtcdLogOptions>]>([
    ['no endpoint', { access: { endpoints: [] } }],
    ['an endpoint without a scheme', { access: { endpoints: ['127.0.0.1:2379'] } }],
    ['an endpoint with a path', { access: { endpoints: ['http://127.0.0.1:2379/v3'] } }],
    ['an endpoint with a password', { access: { endpoints: ['http://a:b@127.0.0.1:2379'] } }],
    [
      'a certificate without its key',
      { access: { endpoints: ['https://127.0.0.1:1'], tls: { certificatePem: 'x' } } },
    ],
    ['no prefix', { prefix: '' }],
    ['a prefix that ends with a slash', { prefix: 'p/' }],
    ['a prefix with a space', { prefix: 'p q' }],
    ['a node id with a slash', { nodeId: 'a/b' }],
    ['a shard named twice', { shardIds: [1, 1] }],
  ])('%s is a TypeError', async (_, change) => {
    await expect(openEtcdLog({ ...valid, ...change })).rejects.toThrow(TypeError);
  });

  it.each<[string, Partial<EtcdLogOptions>]>([
    ['a shard id that is none', { shardIds: [-1] }],
    ['a lease that is too short', { leaseTtlMs: 1_999 }],
    ['a margin of more than half the lease', { leaseMarginMs: 2_501 }],
    ['no payload', { payloadBytesMax: 0 }],
    ['no space', { spaceBytesMax: 0 }],
    ['no time for a request', { access: { ...valid.access, requestTimeoutMs: 0 } }],
  ])('%s is a RangeError', async (_, change) => {
    await expect(openEtcdLog({ ...valid, ...change })).rejects.toThrow(RangeError);
  });

  it('nobody at the endpoint: unavailable, with the reason', async () => {
    const access = { ...valid.access, requestTimeoutMs: 100 };
    const error = await openEtcdLog({ ...valid, access }).catch((thrown: unknown) => thrown);
    expect(error).toEqual(code('RAFTSEAL_ENGINE_UNAVAILABLE'));
    expect(String(error)).toContain('127.0.0.1:1');
  });
});

it('documents are read without a session', async () => {
  const log = await cluster.open();
  await log.documents.write([{ put: 'd/1', value: Buffer.from('one') }]);
  const access = { endpoints: cluster.etcd.endpoints };
  const [found] = await readEtcdDocuments(access, cluster.prefix, 'd/');
  expect(found).toEqual(await log.documents.get('d/1'));
});

it('a log closes though etcd is gone, and an append under way ends', async () => {
  const access = { endpoints: cluster.etcd.endpoints, requestTimeoutMs: 500 };
  const log = await cluster.open({ access });
  const engine = log.engine(7);
  const leadership = await engine.elect();
  await appendRange(engine, leadership, 1n, 1n);
  const following = engine.read({ from: 2n, follow: true })[Symbol.asyncIterator]().next();
  cluster.etcd.member(0).pause();
  const append = appendOne(engine, leadership, 2n);
  const publishing = log.documents.write([{ put: 'd', value: Buffer.of(1) }]).catch(() => 'failed');
  await log.close();
  expect(await append).toMatchObject({ outcome: 'ambiguous' });
  expect(await publishing).toBe('failed');
  expect((await following).done).toBe(true);
  cluster.etcd.member(0).resume();
});
