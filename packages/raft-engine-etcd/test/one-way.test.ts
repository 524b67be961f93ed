/** A network that carries requests to etcd, and no answers back. */
import { expect, it } from 'vitest';
import { useEtcd } from './cluster.ts';
import { lost } from './proxy.ts';
import { aborted, appendRange, expectEntries, readAll, until } from './samples.ts';

const cluster = useEtcd();

it('costs a node its leadership in etcd too, so that others are elected', async () => {
  const proxy = await cluster.proxy();
  const log = await cluster.open({ access: { endpoints: [proxy.endpoint] }, leaseTtlMs: 2_000 });
  const engine = log.engine(7);
  const leadership = await engine.elect();
  await appendRange(engine, leadership, 1n, 1n);
  const rival = (await cluster.open({ nodeId: 'rival' })).engine(7);
  const candidacy = rival.elect();
  // Of what the node sends, its keepalives alone arrive.
  proxy.intercept = async (method, request, forward) => {
    if (method === 'Lease.LeaseKeepAlive') await forward(request);
    throw lost();
  };
  await aborted(leadership.signal);
  const next = await candidacy;
  await appendRange(rival, next, 2n, 3n);
  proxy.intercept = undefined;
  await until(() => log.session.isCurrent());
  expectEntries(await readAll(engine), 1n, 3n);
  await next.resign();
  const again = await engine.elect();
  expect(again.headIndex).toBe(3n);
});
