import { afterEach, describe, expect, it } from 'vitest';
import { rowSeal } from './support/seal.ts';
import { START_MS, TestShard } from './support/shard.ts';

const shards: TestShard[] = [];
async function openShard(...args: Parameters<typeof TestShard.open>): Promise<TestShard> {
  const shard = await TestShard.open(...args);
  shards.push(shard);
  return shard;
}
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

/** Lets the shard delete what is due, as a leader does; how many keys went. */
function expire(shard: TestShard, limit = 100): number {
  let deleted = 0;
  for (let round = 0; round < 100; round++) {
    const command = shard.machine.expired(shard.nowMs, limit);
    if (command === undefined) return deleted;
    deleted += Number(shard.applyRaw(command)[0]);
  }
  throw new Error('the shard offers keys without end');
}

describe('a key that expires', () => {
  it('is there up to its time, and absent to reads and entries after it', async () => {
    const shard = await openShard();
    shard.line('set a 1 PX 100');
    shard.nowMs = START_MS + 100;
    expect(shard.query('get', 'a')).toBe('1');
    expect(shard.query('pttl', 'a')).toBe(0);
    shard.nowMs = START_MS + 101;
    expect(shard.query('get', 'a')).toBeNull();
    expect(shard.query('ttl', 'a')).toBe(-2);
    expect(shard.machine.versionOf('a', shard.nowMs)).toBe(0n);
    expect(shard.line('incr a')).toBe(1);
    expect(shard.query('ttl', 'a')).toBe(-1);
  });

  it('is judged by the entry, not by the clock of the machine', async () => {
    const shard = await openShard();
    shard.line('set a 1 PX 100');
    // A reader whose clock is ahead changes nothing for an entry that is not.
    expect(shard.machine.query(['get', 'a'], START_MS + 500)).toBeNull();
    expect(shard.line('incr a')).toBe(2);
    expect(shard.query('pttl', 'a')).toBe(100);
  });

  it('is deleted once the log says so, in memory and on disk, and only then', async () => {
    const shard = await openShard({ seal: rowSeal() });
    for (let i = 0; i < 30; i++) shard.run('set', `disk${i}`, 'v', 'PX', '100');
    await shard.machine.flush();
    for (let i = 0; i < 30; i++) shard.run('set', `memory${i}`, 'v', 'PX', '100');
    shard.line('set stays v PX 100000');
    expect(expire(shard)).toBe(0);
    shard.nowMs += 200;
    expect(shard.machine.size()).toBe(61);
    expect(expire(shard, 7)).toBe(60);
    expect(shard.machine.size()).toBe(1);
    await shard.machine.flush();
    expect(expire(shard)).toBe(0);
    expect(shard.machine.statistics().rowsSealed).toBe(1);
  });

  it('is kept by a deletion that comes too late: the key was set again, or its time moved', async () => {
    const shard = await openShard();
    shard.line('set again v PX 100');
    shard.line('set moved v PX 100');
    shard.line('set kept v PX 100');
    shard.line('set due v PX 100');
    shard.nowMs += 50;
    const command = shard.machine.expired(shard.nowMs + 100, 10);
    if (command === undefined) throw new Error('nothing was due');
    shard.line('set again w');
    shard.line('pexpire moved 5000');
    shard.line('persist kept');
    shard.nowMs += 100;
    expect(shard.applyRaw(command)).toEqual([1]);
    expect(shard.query('exists', 'again', 'moved', 'kept', 'due')).toBe(3);
  });

  it('is offered again where the deletion was lost', async () => {
    const shard = await openShard();
    shard.line('set a v PX 100');
    shard.nowMs += 200;
    expect(shard.machine.expired(shard.nowMs, 10)).toBeDefined();
    await shard.machine.flush();
    expect(expire(shard)).toBe(1);
  });

  it('leaves no trace in the expiry index when its time changes or it goes', async () => {
    const shard = await openShard({ cacheBytesMax: 0 });
    for (let i = 0; i < 20; i++) shard.run('set', `k${i}`, 'v', 'PX', '100');
    await shard.machine.flush();
    for (let i = 0; i < 5; i++) shard.run('set', `k${i}`, 'blind');
    for (let i = 5; i < 10; i++) shard.run('pexpire', `k${i}`, '100000');
    for (let i = 10; i < 15; i++) shard.run('del', `k${i}`);
    await shard.machine.flush();
    shard.nowMs += 200;
    expect(expire(shard)).toBe(5);
    expect(shard.machine.size()).toBe(10);
  });

  it('SENV-19: has the same value under a new header when its time changes', async () => {
    const shard = await openShard({ seal: rowSeal() });
    shard.line('set a value PX 1000');
    await shard.machine.flush();
    shard.line('pexpireat a 33177117420000');
    await shard.reopen({ seal: rowSeal(1, 2) });
    expect(shard.query('get', 'a')).toBe('value');
    expect(shard.query('pexpiretime', 'a')).toBe(33177117420000);
  });
});
