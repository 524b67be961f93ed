import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { rowSeal } from './support/seal.ts';
import { TestShard } from './support/shard.ts';

const shards: TestShard[] = [];
async function openShard(...args: Parameters<typeof TestShard.open>): Promise<TestShard> {
  const shard = await TestShard.open(...args);
  shards.push(shard);
  return shard;
}
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

describe('SCAN', () => {
  type Step = 'set new' | 'set old' | 'delete' | 'flush' | 'start checkpoint' | 'turn' | 'flushall';
  const steps = fc.array(
    fc.constantFrom<Step>(
      'set new',
      'set old',
      'set old',
      'delete',
      'flush',
      'start checkpoint',
      'turn',
      'turn',
    ),
    { minLength: 40, maxLength: 120 },
  );

  it('returns every key that is there the whole time, while keys move from memory to disk', async () => {
    const shard = await openShard({ seal: rowSeal(), cacheBytesMax: 3_000 });
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(60), fc.nat(60), async (script, onDisk, inMemory) => {
        shard.line('flushall');
        for (let i = 0; i < onDisk; i++) shard.run('set', `disk${i}`, 'v');
        await shard.machine.flush();
        for (let i = 0; i < inMemory; i++) shard.run('set', `memory${i}`, 'v');
        const constant = new Set(shard.machine.keys('*', shard.nowMs));
        for (let i = 0; i < 20; i++) shard.run('set', `gone${i}`, 'v');
        const seen = new Set<string>();
        let cursor = 0n;
        for (const [i, step] of [...script, ...Array<Step>(80).fill('turn')].entries()) {
          if (step === 'set new') shard.run('set', `new${i}`, 'v');
          else if (step === 'set old')
            shard.run('set', [...constant][i % constant.size] ?? 'x', `${i}`);
          else if (step === 'delete') shard.run('del', `gone${i % 20}`);
          else if (step === 'flush') await shard.machine.flush();
          else if (step === 'start checkpoint') void shard.machine.flush();
          else await new Promise((resolve) => setImmediate(resolve));
          const page = shard.machine.scan(cursor, { count: 3 }, shard.nowMs);
          for (const key of page.keys) seen.add(key);
          cursor = page.cursor;
          if (cursor === 0n) break;
        }
        while (cursor !== 0n) {
          const page = shard.machine.scan(cursor, { count: 100 }, shard.nowMs);
          for (const key of page.keys) seen.add(key);
          cursor = page.cursor;
        }
        for (const key of constant) expect(seen).toContain(key);
      }),
      { numRuns: 60, seed: 11 },
    );
  }, 30_000);

  it('returns no key that was deleted, has expired or was flushed away before it began', async () => {
    const shard = await openShard();
    for (let i = 0; i < 50; i++) shard.run('set', `k${i}`, 'v', 'PX', i < 10 ? '100' : '100000');
    await shard.machine.flush();
    for (let i = 10; i < 20; i++) shard.run('del', `k${i}`);
    shard.nowMs += 1_000;
    expect(shard.scanAll().length).toBe(30);
    await shard.machine.flush();
    expect(shard.scanAll().length).toBe(30);
    shard.line('flushall');
    expect(shard.scanAll()).toEqual([]);
    shard.line('set a 1');
    expect(shard.scanAll()).toEqual(['a']);
    await shard.machine.flush();
    expect(shard.scanAll()).toEqual(['a']);
  });

  it('has cursors below 2^48 that outlive a restart', async () => {
    const shard = await openShard({ seal: rowSeal() });
    for (let i = 0; i < 200; i++) shard.run('set', `k${i}`, 'v');
    await shard.machine.flush();
    const seen = new Set<string>();
    let cursor = 0n;
    for (let page = 0; ; page++) {
      const { cursor: next, keys } = shard.machine.scan(cursor, { count: 20 }, shard.nowMs);
      for (const key of keys) seen.add(key);
      cursor = next;
      expect(cursor).toBeLessThan(2n ** 48n);
      if (cursor === 0n) break;
      if (page === 3) await shard.reopen({ seal: rowSeal(1, 2) });
    }
    expect(seen.size).toBe(200);
  });

  it('filters by pattern and type', async () => {
    const shard = await openShard();
    shard.line('mset user:1 a user:2 b other c');
    shard.line('hset user:3 f v');
    const scan = (options: { match?: string; type?: string }): string[] =>
      shard.machine.scan(0n, { count: 100, ...options }, shard.nowMs).keys.sort();
    expect(scan({ match: 'user:*' })).toEqual(['user:1', 'user:2', 'user:3']);
    expect(scan({ match: 'user:*', type: 'string' })).toEqual(['user:1', 'user:2']);
    expect(scan({ type: 'hash' })).toEqual(['user:3']);
    expect(scan({ type: 'list' })).toEqual([]);
    await shard.machine.flush();
    expect(shard.machine.keys('user:?', shard.nowMs).length).toBe(3);
  });
});

describe('DBSIZE', () => {
  it('counts exactly, with blind writes over keys that may be on disk', async () => {
    const shard = await openShard({ cacheBytesMax: 0 });
    const present = new Set<string>();
    const number = fc.nat(30);
    const step = fc.oneof(
      fc.record({ kind: fc.constantFrom('set', 'set', 'del', 'incr'), key: number }),
      fc.record({ kind: fc.constantFrom('flush', 'start', 'size', 'flushall'), key: number }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (script) => {
        for (const { kind, key } of script) {
          const name = `k${key}`;
          if (kind === 'set') shard.run('set', name, '5');
          else if (kind === 'incr') shard.run('incr', name);
          else if (kind === 'del') shard.run('del', name);
          else if (kind === 'flush') await shard.machine.flush();
          else if (kind === 'start') void shard.machine.flush();
          else if (kind === 'size') expect(shard.machine.size()).toBe(present.size);
          else if (key === 7) shard.line('flushall');
          if (kind === 'set' || kind === 'incr') present.add(name);
          if (kind === 'del') present.delete(name);
          if (kind === 'flushall' && key === 7) present.clear();
        }
        expect(shard.machine.size()).toBe(present.size);
        await shard.machine.flush();
        expect(shard.machine.size()).toBe(present.size);
      }),
      { numRuns: 150, seed: 3 },
    );
  }, 30_000);
});

describe('RANDOMKEY', () => {
  it('finds every key, in memory and on disk, and null where there is none', async () => {
    const shard = await openShard({ seal: rowSeal() });
    expect(shard.machine.randomKey(shard.nowMs)).toBeNull();
    for (let i = 0; i < 6; i++) shard.run('set', `disk${i}`, 'v');
    await shard.machine.flush();
    for (let i = 0; i < 6; i++) shard.run('set', `memory${i}`, 'v');
    shard.line('del disk0 memory0');
    const found = new Set<string | null>();
    for (let i = 0; i < 20_000; i++) found.add(shard.machine.randomKey(shard.nowMs));
    expect(found).toEqual(new Set(shard.scanAll()));
    shard.line('flushall');
    expect(shard.machine.randomKey(shard.nowMs)).toBeNull();
  });
});

describe('HSCAN', () => {
  it('returns every field that is there the whole time, while others come and go', async () => {
    const shard = await openShard();
    for (let i = 0; i < 400; i++) shard.run('hset', 'h', `stay${i}`, `${i}`);
    const seen = new Map<string, string>();
    let cursor = '0';
    for (let page = 0; ; page++) {
      const reply = shard.query('hscan', 'h', cursor, 'COUNT', '10') as [string, string[]];
      for (let i = 0; i < reply[1].length; i += 2)
        seen.set(reply[1][i] ?? '', reply[1][i + 1] ?? '');
      cursor = reply[0];
      if (cursor === '0') break;
      for (let i = 0; i < 60; i++) shard.run('hset', 'h', `page${page}-${i}`, 'v');
      if (page > 0) for (let i = 0; i < 60; i++) shard.run('hdel', 'h', `page${page - 1}-${i}`);
      // Out of memory and back.
      if (page === 5) await shard.reopen();
    }
    for (let i = 0; i < 400; i++) expect(seen.get(`stay${i}`)).toBe(`${i}`);
  });
});
