import { createConnection } from 'node:net';
import { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { ListenerTls } from '../src/config.ts';
import { peerCertificates, pemOf } from './peer/certificates.ts';
import { newConfig, running } from './running-node.ts';

const { member, stranger, expired } = peerCertificates();
const own = { certificatePath: member.certificatePath, keyPath: member.keyPath };
const { ca } = pemOf(member);

async function listening(tls: ListenerTls): Promise<number> {
  const redis = { host: '127.0.0.1', port: 0, password: 'secret', tls };
  return (await running(newConfig({ redis }))).redisPort;
}

/** What a client makes of PING, with the TLS options given. */
async function pingWith(port: number, tls: object): Promise<string> {
  const client = new Redis(port, '127.0.0.1', {
    tls,
    password: 'secret',
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: true,
  });
  client.on('error', () => undefined);
  onTestFinished(() => client.disconnect());
  return client.ping();
}

describe('the Redis listener with TLS', () => {
  it('serves who trusts its certificate, and nobody in the clear', async () => {
    const port = await listening(own);
    expect(await pingWith(port, { ca })).toBe('PONG');
    await expect(pingWith(port, {})).rejects.toThrow();
    const text = await new Promise<string>((resolve) => {
      let heard = '';
      const socket = createConnection({ host: '127.0.0.1', port });
      socket.on('data', (data) => {
        heard += data.toString('latin1');
      });
      socket.on('error', () => undefined).on('close', () => resolve(heard));
      socket.write('PING\r\n');
    });
    expect(text).not.toContain('PONG');
    expect(await pingWith(port, { ca })).toBe('PONG');
  });

  it('asks clients for a certificate where it is given a CA for them', async () => {
    const port = await listening({ ...own, clientCaPath: member.caPath });
    for (const files of [{ ca }, { ...pemOf(stranger), ca }, { ...pemOf(expired), ca }]) {
      await expect(pingWith(port, files)).rejects.toThrow();
    }
    expect(await pingWith(port, pemOf(member))).toBe('PONG');
  });

  it('keeps a node from starting without its certificate', async () => {
    await expect(listening({ ...own, keyPath: '/none/such' })).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_SECRET_FILE',
    });
  });
});
