import { describe, expect, it } from 'vitest';
import {
  type ClusterConfig,
  checkConfig,
  type EtcdConfig,
  isLoopback,
  type NodeConfig,
} from '../src/config.ts';

const sound: NodeConfig = {
  dataPath: 'data',
  shardCount: undefined,
  encryption: 'on',
  kekUris: ['file:/kek'],
  redis: { host: '127.0.0.1', port: 0, password: undefined },
  admin: { host: '127.0.0.1', port: 0, tokenPath: undefined },
  cacheBytesMax: 1,
};

function listeningOn(host: string, password?: string): NodeConfig {
  return { ...sound, redis: { host, port: 0, password } };
}

describe('a configuration', () => {
  it('is taken with a KEK, and without one where encryption is off', () => {
    checkConfig(sound);
    checkConfig({ ...sound, encryption: 'off' });
    checkConfig({ ...sound, encryption: 'off', kekUris: [] });
  });

  it('is refused without a KEK where encryption is on', () => {
    expect(() => checkConfig({ ...sound, kekUris: [] })).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_NODE_KEK_REQUIRED' }),
    );
  });

  it.each(['0.0.0.0', '::', '192.168.1.10', 'db.example.org', ''])(
    'is refused where clients may come to %o without a password, and taken with one',
    (host) => {
      expect(() => checkConfig(listeningOn(host))).toThrow(
        expect.objectContaining({ code: 'RAFTSEAL_NODE_EXPOSED' }),
      );
      checkConfig(listeningOn(host, 'secret'));
    },
  );

  it('names no password in its refusals', () => {
    const config = { ...listeningOn('0.0.0.0', 'correct horse'), kekUris: [] };
    expect(() => checkConfig(config)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('correct horse') }),
    );
  });

  it.each(['127.0.0.1', '127.255.255.254', 'localhost', '::1'])('knows %s as loopback', (host) => {
    expect(isLoopback(host)).toBe(true);
    checkConfig(listeningOn(host));
  });

  it.each(['127.0.0.1.example.org', '127.example.org', '127.1', '128.0.0.1', '::ffff:10.0.0.1'])(
    'does not take %s for loopback',
    (host) => expect(isLoopback(host)).toBe(false),
  );
});

const mtls = { kind: 'mtls', caPath: 'ca', certificatePath: 'cert', keyPath: 'key' } as const;
const token = { kind: 'token', tokenPath: 'token' } as const;
const soundEtcd: EtcdConfig = {
  endpoints: ['http://127.0.0.1:2379'],
  prefix: '/raftseal',
  spaceBytesMax: 1024,
  leaseTtlMs: 5000,
};
const soundCluster: ClusterConfig = {
  etcd: soundEtcd,
  role: 'voter',
  reads: 'lease',
  peer: { host: '127.0.0.1', port: 0, security: token },
  advertise: { redis: { host: '127.0.0.1', port: 0 }, peer: { host: '127.0.0.1', port: 0 } },
};
const EXPOSED = expect.objectContaining({ code: 'RAFTSEAL_NODE_EXPOSED' });
const OPTION = expect.objectContaining({ code: 'RAFTSEAL_NODE_OPTION' });

function clusterWith(changes: Partial<ClusterConfig>): () => void {
  return () => checkConfig({ ...sound, cluster: { ...soundCluster, ...changes } });
}

function etcdWith(changes: Partial<EtcdConfig>): () => void {
  return clusterWith({ etcd: { ...soundEtcd, ...changes } });
}

describe('the configuration of a cluster node', () => {
  const remote = '10.0.0.1';

  it('is taken on loopback with a token or certificates', () => {
    clusterWith({})();
    clusterWith({ peer: { host: '::1', port: 8379, security: mtls } })();
  });

  it('is taken beyond loopback with certificates, and refused with a token', () => {
    const advertise = { redis: { host: remote, port: 1 }, peer: { host: remote, port: 2 } };
    for (const host of ['0.0.0.0', '::', remote, 'node1.example.org']) {
      clusterWith({ advertise, peer: { host, port: 8379, security: mtls } })();
      const exposed = { peer: { host, port: 8379, security: token } };
      expect(clusterWith(exposed)).toThrow(EXPOSED);
    }
    expect(clusterWith({ advertise })).toThrow(EXPOSED);
  });

  it.each(['', '*', '0', '0.0.0.0', '::', '0:0:0:0:0:0:0:0'])(
    'is refused where others are told to connect to %o',
    (host) => {
      const peer = { host, port: 8379, security: mtls };
      for (const name of ['redis', 'peer'] as const) {
        const advertise = { ...soundCluster.advertise, [name]: { host, port: 1 } };
        expect(clusterWith({ advertise, peer })).toThrow(OPTION);
      }
    },
  );

  it.each([
    ['https://10.0.0.1:2379'],
    ['https://10.0.0.1:2379', 'https://etcd.example.org:2379/'],
    ['http://localhost:2379', 'http://[::1]:2379', 'http://127.0.0.2:2379'],
  ])('is taken with etcd at %s', (...endpoints) => etcdWith({ endpoints })());

  it.each([
    'http://10.0.0.1:2379',
    'http://etcd.example.org:2379',
    'http://0.0.0.0:2379',
    'http://127.0.0.1.example.org:2379',
  ])('is refused with etcd in the clear at %s', (url) => {
    const [user, files] = [{ userName: 'a', passwordPath: 'b' }, { caPath: 'ca' }];
    for (const more of [{}, user, files]) {
      expect(etcdWith({ ...more, endpoints: [url] })).toThrow(EXPOSED);
      expect(etcdWith({ ...more, endpoints: ['http://127.0.0.1:2379', url] })).toThrow(EXPOSED);
    }
  });

  it.each([
    [],
    [''],
    ['127.0.0.1:2379'],
    ['localhost:2379'],
    ['ftp://127.0.0.1:2379'],
    ['HTTP://127.0.0.1:2379'],
    ['http://127.0.0.1:2379/v3'],
    ['http://127.0.0.1:2379?a=b'],
    ['http://127.0.0.1:2379#a'],
    ['http://127.0.0.1:99999'],
    ['http://user@127.0.0.1:2379'],
    ['http://127.0.0.1:2379', ''],
    ['http://127.0.0.1:2379', 'https://127.0.0.1:2379'],
  ])('is refused with etcd at %s', (...endpoints) => {
    expect(etcdWith({ endpoints })).toThrow(OPTION);
  });

  it('names no password of a URL in its refusal', () => {
    expect(etcdWith({ endpoints: ['https://user:secret@127.0.0.1:2379'] })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('secret') }),
    );
  });

  it('is refused with half of what belongs together', () => {
    const endpoints = ['https://10.0.0.1:2379'];
    etcdWith({ endpoints, caPath: 'a', certificatePath: 'b', keyPath: 'c' })();
    etcdWith({ endpoints, userName: 'a', passwordPath: 'b' })();
    for (const half of [
      { certificatePath: 'b' },
      { keyPath: 'c' },
      { userName: 'a' },
      { passwordPath: 'b' },
    ]) {
      expect(etcdWith({ endpoints, ...half })).toThrow(OPTION);
    }
    for (const unused of [{ caPath: 'a' }, { certificatePath: 'b', keyPath: 'c' }]) {
      expect(etcdWith(unused)).toThrow(OPTION);
    }
  });

  it.each(['/raftseal', '/prod/raftseal-2', '/a.b/c_d'])('is taken with the prefix %s', (prefix) =>
    etcdWith({ prefix })(),
  );

  it.each([
    '',
    '/',
    'raftseal',
    '/raftseal/',
    '//raftseal',
    '/raft seal',
    '/é',
    `/${'x'.repeat(200)}`,
  ])('is refused with the prefix %o', (prefix) => expect(etcdWith({ prefix })).toThrow(OPTION));
});
