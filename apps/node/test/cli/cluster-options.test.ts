import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { type ClusterOptions, clusterOf, withCluster } from '../../src/cli/cluster-options.ts';
import type { ClusterConfig } from '../../src/config.ts';

const redis = { host: '127.0.0.1', port: 6379 };
const OPTION = expect.objectContaining({ code: 'RAFTSEAL_NODE_OPTION' });

function parse(args: string): ClusterConfig | undefined {
  const command = withCluster(new Command('start')).exitOverride();
  command.configureOutput({ writeErr: () => undefined });
  const words = args.split(' ').filter((word) => word !== '');
  return clusterOf(command.parse(words, { from: 'user' }).opts<ClusterOptions>(), redis);
}

const token = '--peer-token-file /t';

describe('the options of a cluster', () => {
  it('make no cluster where none is given', () => expect(parse('')).toBeUndefined());

  it('have defaults for all but etcd and what peers know each other by', () => {
    expect(parse(`--etcd http://127.0.0.1:2379 ${token}`)).toEqual({
      etcd: {
        endpoints: ['http://127.0.0.1:2379'],
        prefix: '/raftseal',
        spaceBytesMax: 2 * 1024 ** 3,
        leaseTtlMs: 5000,
      },
      role: 'voter',
      reads: 'lease',
      peer: { host: '127.0.0.1', port: 8379, security: { kind: 'token', tokenPath: '/t' } },
      advertise: { redis, peer: { host: '127.0.0.1', port: 8379 } },
    });
  });

  it('are all taken as they are given', () => {
    const args = [
      '--etcd https://a:2379,https://b:2379 --etcd-prefix /p --etcd-ca ca --etcd-cert cert',
      '--etcd-key key --etcd-user user --etcd-password-file pw --etcd-space 512m --lease-ttl 2000',
      '--role learner --reads strict --peer-host 0.0.0.0 --peer-port 0 --peer-ca pca',
      '--peer-cert pcert --peer-key pkey --advertise-host n1.example.org --advertise-port 16379',
      '--advertise-peer-port 18379',
    ];
    expect(parse(args.join(' '))).toEqual({
      etcd: {
        endpoints: ['https://a:2379', 'https://b:2379'],
        prefix: '/p',
        caPath: 'ca',
        certificatePath: 'cert',
        keyPath: 'key',
        userName: 'user',
        passwordPath: 'pw',
        spaceBytesMax: 512 * 1024 ** 2,
        leaseTtlMs: 2000,
      },
      role: 'learner',
      reads: 'strict',
      peer: {
        host: '0.0.0.0',
        port: 0,
        security: { kind: 'mtls', caPath: 'pca', certificatePath: 'pcert', keyPath: 'pkey' },
      },
      advertise: {
        redis: { host: 'n1.example.org', port: 16379 },
        peer: { host: 'n1.example.org', port: 18379 },
      },
    });
  });

  const options = withCluster(new Command('start')).options.filter(({ long }) => long !== '--etcd');
  const values: Readonly<Record<string, string>> = {
    '--etcd-space': '1g',
    '--lease-ttl': '5000',
    '--role': 'voter',
    '--reads': 'lease',
    '--peer-port': '1',
    '--advertise-port': '1',
    '--advertise-peer-port': '1',
  };

  it.each(options.map(({ long }) => `${long}`))('%s is refused without --etcd', (long) => {
    expect(() => parse(`${long} ${values[long] ?? 'x'}`)).toThrow(OPTION);
    expect(() => parse(`${long} ${values[long] ?? 'x'}`)).toThrow(new RegExp(`^${long}: .*--etcd`));
  });

  it.each([
    '--lease-ttl 1999',
    '--lease-ttl 60001',
    '--etcd-space much',
    '--role leader',
    '--reads stale',
    '--peer-port 65536',
    '--advertise-port 0',
    '--advertise-peer-port 0',
  ])('are refused with %s', (wrong) => {
    expect(() => parse(`--etcd http://127.0.0.1:2379 ${token} ${wrong}`)).toThrow(OPTION);
  });

  it.each([
    '',
    '--peer-ca a',
    '--peer-ca a --peer-cert b',
    '--peer-cert b --peer-key c',
    `${token} --peer-ca a`,
    `${token} --peer-ca a --peer-cert b --peer-key c`,
  ])('are refused where peers know each other by: %s', (security) => {
    expect(() => parse(`--etcd http://127.0.0.1:2379 ${security}`)).toThrow(OPTION);
  });
});
