/** How etcd lets a node in: TLS, client certificates, passwords, permissions. */
import type { LogEntry } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { type EtcdAccess, type EtcdEventKind, inspectEtcdLog, openEtcdLog } from '../src/index.ts';
import { useEtcd } from './cluster.ts';
import {
  appendOne,
  appendRange,
  code,
  expectEntries,
  followThrough,
  readAll,
  until,
} from './samples.ts';

/** Opens a log that is closed by the caller. */
function open(access: EtcdAccess, prefix = 'mine/log', onEvent?: (kind: EtcdEventKind) => void) {
  return openEtcdLog({
    access,
    prefix,
    nodeId: 'a',
    shardIds: [7],
    compactAfterMs: 0,
    ...(onEvent && { onEvent: ({ kind }) => onEvent(kind) }),
  });
}

describe('TLS with client certificates', () => {
  const cluster = useEtcd({
    tls: { clientCertificates: true },
    auth: { rootPassword: 'of-root', users: [{ name: 'node', keyPrefix: 'mine/' }] },
  });

  it('lets in who has the certificate of a user, with what that user may do', async () => {
    const { endpoints, tls } = cluster.etcd;
    const certificate = await tls?.clientCertificate('node');
    const access = { endpoints, tls: { caPem: tls?.caPem ?? '', ...certificate } };
    const log = await open(access);
    const engine = log.engine(7);
    const leadership = await engine.elect();
    const following = followThrough(engine, 1n, 3n);
    await appendRange(engine, leadership, 1n, 3n);
    expectEntries(await following, 1n, 3n);
    await log.close();
    await expect(open(access, 'others')).rejects.toEqual(code('RAFTSEAL_ENGINE_ACCESS_DENIED'));
  });

  it('refuses who has no certificate, and is refused as a server of an unknown authority', async () => {
    const { endpoints, tls } = cluster.etcd;
    const caPem = tls?.caPem ?? '';
    const unavailable = code('RAFTSEAL_ENGINE_UNAVAILABLE');
    const requestTimeoutMs = 300;
    const attempts = [
      open({ endpoints, requestTimeoutMs, tls: { caPem } }),
      open({ endpoints, requestTimeoutMs }),
    ];
    for (const attempt of await Promise.allSettled(attempts)) {
      expect(attempt).toMatchObject({ status: 'rejected', reason: unavailable });
    }
  });
});

describe('TLS with a password', () => {
  const users = [
    { name: 'node', password: 'of-node', keyPrefix: 'mine/' },
    { name: 'reader', password: 'of-reader', keyPrefix: 'reader/' },
  ];
  const cluster = useEtcd({
    tls: { clientCertificates: false },
    auth: { rootPassword: 'of-root', users },
    extraFlags: ['--auth-token-ttl=1'],
  });

  function accessOf(password: string): EtcdAccess {
    const { endpoints, tls } = cluster.etcd;
    return { endpoints, tls: { caPem: tls?.caPem ?? '' }, user: { name: 'node', password } };
  }

  it('asks for another token when one has expired, for calls and for watches', async () => {
    const log = await open(accessOf('of-node'));
    const engine = log.engine(7);
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 1n);
    for (let index = 2n; index <= 4n; index++) {
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      const following = followThrough(engine, index, index);
      await appendRange(engine, leadership, index, index);
      expectEntries(await following, index, index);
    }
    expect(leadership.isCurrent()).toBe(true);
    await log.compact();
    await log.close();
  });

  it('does not mind a member that has forgotten its tokens', async () => {
    const log = await open(accessOf('of-node'), 'mine/restarted');
    const engine = log.engine(7);
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 1n);
    const following = followThrough(engine, 1n, 2n);
    await cluster.etcd.member(0).restart();
    await until(async () => (await appendOne(engine, leadership, 2n)).outcome === 'done');
    expectEntries(await following, 1n, 2n);
    await log.close();
  });

  it('lets a log be inspected by who may only read', async () => {
    const log = await open(accessOf('of-node'), 'mine/inspected');
    const engine = log.engine(7);
    await appendRange(engine, await engine.elect(), 1n, 20n);
    await engine.truncate(4n);
    await log.close();
    const grant = ['role', 'grant-permission', '--prefix', 'reader', 'read', 'mine/'];
    await cluster.etcd.etcdctl(...grant);
    const access = { ...accessOf(''), user: { name: 'reader', password: 'of-reader' } };
    const entries: LogEntry[] = [];
    for await (const entry of inspectEtcdLog(access, 'mine/inspected', 7)) entries.push(entry);
    expectEntries(entries, 5n, 20n);
    await expect(open(access, 'mine/other')).rejects.toEqual(code('RAFTSEAL_ENGINE_ACCESS_DENIED'));
  });

  it('refuses a wrong password and a user without permission, and names neither', async () => {
    const denied = code('RAFTSEAL_ENGINE_ACCESS_DENIED');
    const wrong = await open(accessOf('of-nobody')).catch((error: unknown) => error);
    expect(wrong).toEqual(denied);
    expect(String(wrong)).not.toContain('of-nobody');
    await expect(open(accessOf('of-node'), 'others')).rejects.toEqual(denied);
    const { user: _, ...withoutUser } = accessOf('');
    await expect(open(withoutUser)).rejects.toEqual(denied);
  });

  it('a permission that is taken away refuses appends, and given back takes them again', async () => {
    const kinds: EtcdEventKind[] = [];
    const log = await open(accessOf('of-node'), 'mine/revoked', (kind) => kinds.push(kind));
    const engine = log.engine(7);
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 1n);
    await cluster.etcd.etcdctl('role', 'revoke-permission', '--prefix', 'node', 'mine/');
    const error = code('RAFTSEAL_ENGINE_ACCESS_DENIED');
    expect(await appendOne(engine, leadership, 2n)).toEqual({ outcome: 'refused', error });
    await expect(log.documents.get('name')).rejects.toEqual(error);
    await until(() => kinds.includes('access-denied'));
    const grant = ['role', 'grant-permission', '--prefix', 'node', 'readwrite', 'mine/'];
    await cluster.etcd.etcdctl(...grant);
    const current = leadership.isCurrent() ? leadership : await engine.elect();
    await until(async () => (await appendOne(engine, current, 2n)).outcome === 'done');
    expectEntries(await readAll(engine), 1n, 2n);
    await log.close();
  });
});
