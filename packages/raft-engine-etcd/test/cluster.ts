/** What the tests share: one etcd for a file, a prefix for each test, logs that are closed. */
import { type EtcdCluster, type EtcdOptions, startEtcd } from '@raftseal/etcd-for-tests';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { type EtcdLog, type EtcdLogOptions, openEtcdLog } from '../src/index.ts';
import { type CallProxy, startProxy } from './proxy.ts';

export interface TestCluster {
  readonly etcd: EtcdCluster;
  /** Of this test alone. */
  readonly prefix: string;
  /** Opened over the prefix of this test, and closed after it. */
  open(options?: Partial<EtcdLogOptions>): Promise<EtcdLog>;
  /** Before the only member; closed after the logs of the test. */
  proxy(): Promise<CallProxy>;
  /** The lease of a node's session, as etcdctl takes it. */
  leaseOf(nodeId: string): Promise<string>;
}

/** To be called at the top of a file or of a `describe`. */
export function useEtcd(options: EtcdOptions = {}): TestCluster {
  let etcd: EtcdCluster | undefined;
  let tests = 1;
  const logs: EtcdLog[] = [];
  const proxies: CallProxy[] = [];
  const running = (): EtcdCluster => {
    if (etcd === undefined) throw new Error('etcd was not started');
    return etcd;
  };
  beforeAll(async () => {
    etcd = await startEtcd(options);
  });
  afterEach(async () => {
    await Promise.all(logs.splice(0).map((log) => log.close()));
    for (const proxy of proxies.splice(0)) proxy.close();
    tests += 1;
  });
  afterAll(() => etcd?.close());
  const cluster = {
    get etcd() {
      return running();
    },
    get prefix() {
      return `test/${tests}`;
    },
    open: async (own: Partial<EtcdLogOptions> = {}) => {
      const access = { endpoints: running().endpoints };
      const base = { access, prefix: cluster.prefix, nodeId: 'a', shardIds: [0, 7] };
      const log = await openEtcdLog({ ...base, ...own });
      logs.push(log);
      return log;
    },
    proxy: async () => {
      const proxy = await startProxy(running().endpoints[0] ?? '');
      proxies.push(proxy);
      return proxy;
    },
    leaseOf: async (nodeId: string) => {
      const key = `${cluster.prefix}/nodes/${nodeId}`;
      const found = await running().etcdctl('get', '-w', 'json', key);
      // Larger than a number can be.
      return BigInt(/"lease":(\d+)/.exec(found)?.[1] ?? 0).toString(16);
    },
  };
  return cluster;
}
