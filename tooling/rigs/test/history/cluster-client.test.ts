/** A write whose outcome is unknown reaches the cluster once: else a history proves nothing. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { ClusterClient } from '../../src/history/cluster-client.ts';
import { slotOf } from '../../src/history/slot.ts';
import type { Command } from '../../src/linearizability/operation.ts';
import { type Script, type ScriptedServer, scriptedServer } from './scripted-server.ts';

const servers: ScriptedServer[] = [];
const clients: ClusterClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const server of servers.splice(0)) await server.close();
});

async function server(script: Script, replica?: ScriptedServer): Promise<ScriptedServer> {
  const started = await scriptedServer(script, replica ? [replica.port] : []);
  servers.push(started);
  return started;
}

async function clientOf({ port }: ScriptedServer, timeoutMs = 1_000): Promise<ClusterClient> {
  const client = new ClusterClient({ nodes: [{ host: '127.0.0.1', port }], timeoutMs });
  clients.push(client);
  await client.ready();
  return client;
}

/** Longer than any pause after which ioredis would send again. */
const RESEND_MS = 600;

const increment: Command = ['INCR', 'n'];
const names = ({ received }: ScriptedServer): string[] =>
  received.map(([name = '']) => name.toUpperCase());

describe('a cluster client', () => {
  it('does not send again what was under way when its connection broke', async () => {
    const node = await server(([name]) => (name === 'INCR' ? 'close' : '+OK\r\n'));
    const client = await clientOf(node);
    expect(await client.perform([increment])).toMatchObject({ outcome: 'unknown' });
    await delay(RESEND_MS);
    expect(names(node)).toEqual(['INCR']);
    expect(await client.perform([['SET', 'k', 'a']])).toEqual({
      outcome: 'done',
      replies: ['OK'],
    });
  });

  it('does not send a transaction again whose EXEC was under way', async () => {
    const node = await server(([name]) => {
      if (name === 'EXEC') return 'close';
      return name === 'MULTI' ? '+OK\r\n' : '+QUEUED\r\n';
    });
    const client = await clientOf(node);
    expect(await client.perform([increment, increment])).toMatchObject({ outcome: 'unknown' });
    await delay(RESEND_MS);
    expect(names(node)).toEqual(['MULTI', 'INCR', 'INCR', 'EXEC']);
  });

  it('does not send again what is not answered', async () => {
    const node = await server(() => '');
    const client = await clientOf(node, 100);
    expect(await client.perform([increment])).toEqual({
      outcome: 'unknown',
      reason: 'Command timed out',
    });
    await delay(RESEND_MS);
    expect(names(node)).toEqual(['INCR']);
  });

  it('leaves it at one try where the cluster is down', async () => {
    const node = await server(() => '-CLUSTERDOWN no leader\r\n');
    const client = await clientOf(node);
    expect(await client.perform([increment])).toMatchObject({ outcome: 'refused' });
    await delay(RESEND_MS);
    expect(names(node)).toEqual(['INCR']);
  });

  it('follows MOVED, and says what a transaction answered', async () => {
    const leader = await server(([name]) => {
      if (name === 'EXEC') return '*2\r\n:1\r\n-WRONGTYPE x\r\n';
      return name === 'MULTI' ? '+OK\r\n' : '+QUEUED\r\n';
    });
    const other = await server(([name]) => {
      if (name === 'EXEC')
        return '-EXECABORT Transaction discarded because of previous errors.\r\n';
      return name === 'MULTI' ? '+OK\r\n' : `-MOVED ${slotOf('n')} 127.0.0.1:${leader.port}\r\n`;
    }, leader);
    const client = await clientOf(other);
    expect(await client.perform([increment, increment])).toEqual({
      outcome: 'done',
      replies: [1, { error: 'WRONGTYPE x' }],
    });
    expect(names(leader)).toEqual(['MULTI', 'INCR', 'INCR', 'EXEC']);
  });

  it('asks no replica for answers that may be stale', async () => {
    const replica = await server(() => '+OK\r\n');
    const master = await server(([name]) => (name === 'GET' ? '$1\r\na\r\n' : 'close'), replica);
    const client = await clientOf(master);
    expect(await client.perform([['GET', 'k']])).toEqual({ outcome: 'done', replies: ['a'] });
    expect(await client.perform([increment])).toMatchObject({ outcome: 'unknown' });
    await client.perform([['GET', 'k']]);
    expect(names(replica)).toEqual(['GET']);
  });
});
