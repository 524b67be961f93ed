import { describe, expect, it } from 'vitest';
import { checkConfig, isLoopback, type NodeConfig } from '../src/config.ts';

const sound: NodeConfig = {
  dataPath: 'data',
  shardCount: undefined,
  encryption: 'on',
  kekUri: 'file:/kek',
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
    checkConfig({ ...sound, encryption: 'off', kekUri: undefined });
  });

  it('is refused without a KEK where encryption is on', () => {
    expect(() => checkConfig({ ...sound, kekUri: undefined })).toThrow(
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
    const config = { ...listeningOn('0.0.0.0', 'correct horse'), kekUri: undefined };
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
