import { describe, expect, it } from 'vitest';
import type { EtcdEvent } from '../src/index.ts';
import { useEtcd } from './cluster.ts';
import { aborted, appendOne, appendRange, code, expectEntries, readAll, until } from './samples.ts';

const cluster = useEtcd();
const SHORT = { leaseTtlMs: 2_000, leaseMarginMs: 500 };

/** Takes the lease of a node away, as etcd does when it lapses. */
async function revokeLease(nodeId: string): Promise<void> {
  await cluster.etcd.etcdctl('lease', 'revoke', await cluster.leaseOf(nodeId));
}

async function readKey(name: string): Promise<string> {
  const value = await cluster.etcd.etcdctl(
    'get',
    '--print-value-only',
    `${cluster.prefix}/${name}`,
  );
  return value.trimEnd();
}

describe('a lease that is lost', () => {
  it('ends every leadership, and this node is present and elected again', async () => {
    const events: EtcdEvent[] = [];
    const presence = Buffer.from('where I am');
    const log = await cluster.open({ presence, onEvent: (event) => events.push(event) });
    const engine = log.engine(7);
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 2n);
    await revokeLease('a');
    await aborted(leadership.signal);
    expect(leadership.isCurrent()).toBe(false);
    expect(await appendOne(engine, leadership, 3n)).toMatchObject({ outcome: 'fenced' });
    const again = await engine.elect();
    expect(again.headIndex).toBe(2n);
    expect(again.term).toBeGreaterThan(leadership.term);
    await appendRange(engine, again, 3n, 3n);
    expect(await readKey('nodes/a')).toBe('where I am');
    const kinds = events.map(({ kind }) => kind);
    expect(kinds).toEqual(expect.arrayContaining(['session-lost', 'session-renewed', 'elected']));
  });

  it('does not let an append through that was ready before this node knew', async () => {
    const log = await cluster.open();
    const rival = (await cluster.open({ nodeId: 'b' })).engine(7);
    const engine = log.engine(7);
    const leadership = await engine.elect();
    await revokeLease('a');
    const next = await rival.elect();
    expect(await appendOne(engine, leadership, 1n)).toMatchObject({ outcome: 'fenced' });
    await appendRange(rival, next, 1n, 1n);
    expectEntries(await readAll(rival), 1n, 1n);
  });
});

describe('one identity', () => {
  it('is refused to a second process while the first one lives', async () => {
    await cluster.open(SHORT);
    const second = cluster.open(SHORT);
    await expect(second).rejects.toEqual(code('RAFTSEAL_ENGINE_IDENTITY_IN_USE'));
  });

  it('is free at once after the log was closed', async () => {
    const first = await cluster.open();
    const leadership = await first.engine(7).elect();
    await first.close();
    expect(leadership.signal.aborted).toBe(true);
    const second = await cluster.open();
    expect(second.session.processId).not.toBe(first.session.processId);
    await second.engine(7).elect();
  });

  it('is free once a predecessor that just ended has lapsed', async () => {
    const lease = (await cluster.etcd.etcdctl('lease', 'grant', '2')).split(' ')[1] ?? '';
    await cluster.etcd.etcdctl('put', `${cluster.prefix}/nodes/a`, 'past', '--lease', lease);
    await cluster.etcd.etcdctl('put', `${cluster.prefix}/leaders/7`, 'a', '--lease', lease);
    const log = await cluster.open(SHORT);
    await log.engine(7).elect();
  });

  it('invariant 3: that another process took over is never taken back', async () => {
    const displaced: unknown[] = [];
    const log = await cluster.open({ onDisplaced: (error) => displaced.push(error) });
    const engine = log.engine(7);
    const leadership = await engine.elect();
    // A copy of this node that ran while this one was out of touch.
    await cluster.etcd.etcdctl('put', `${cluster.prefix}/processes/a`, 'of the copy');
    await revokeLease('a');
    await until(() => displaced.length > 0);
    expect(displaced).toEqual([code('RAFTSEAL_ENGINE_DISPLACED')]);
    expect(leadership.signal.aborted).toBe(true);
    expect(log.session.isCurrent()).toBe(false);
    await expect(engine.elect()).rejects.toEqual(code('RAFTSEAL_ENGINE_DISPLACED'));
    const document = { put: 'mine', value: Buffer.of(1), whileAlive: true };
    await expect(log.documents.write([document])).rejects.toEqual(
      code('RAFTSEAL_ENGINE_DISPLACED'),
    );
    expect(await readKey('nodes/a')).toBe('');
    expect(displaced).toHaveLength(1);
  });
});

describe('presence', () => {
  it('is what was published last, in one put for many', async () => {
    const log = await cluster.open({ presence: Buffer.from('0') });
    const key = `${cluster.prefix}/nodes/a`;
    for (let step = 1; step <= 200; step++) log.publish(Buffer.from(`${step}`));
    await until(async () => (await readKey('nodes/a')) === '200');
    const found = JSON.parse(await cluster.etcd.etcdctl('get', '-w', 'json', key));
    expect(found.kvs[0].version).toBeLessThan(4);
  });

  it('goes with the log, and outlasts a lost lease', async () => {
    const log = await cluster.open({ presence: Buffer.from('first') });
    log.publish(Buffer.from('second'));
    await until(async () => (await readKey('nodes/a')) === 'second');
    await revokeLease('a');
    await until(async () => (await readKey('nodes/a')) === 'second');
    await log.close();
    expect(await readKey('nodes/a')).toBe('');
    expect(() => log.publish(Buffer.of(1))).toThrow(code('RAFTSEAL_ENGINE_CLOSED') as Error);
  });
});
