import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { matchesGlob } from '../src/glob.ts';
import { commandKeys, commandTable, slotOf } from '../src/index.ts';
import { RedisOracle } from './support/redis-oracle.ts';

let redis: RedisOracle;
beforeAll(async () => {
  redis = await RedisOracle.start();
});
afterAll(() => redis.stop());

describe('glob patterns', () => {
  const text = fc.string({
    unit: fc.constantFrom('a', 'b', 'c', '-', '*', '[', '\\'),
    maxLength: 6,
  });
  const part = fc.constantFrom(
    'a',
    'b',
    'c',
    '*',
    '?',
    '[ab]',
    '[^a]',
    '[a-c]',
    '[c-a]',
    '\\*',
    '\\',
    '[',
    ']',
    '[]',
    '[^',
    '[a-',
    '-',
  );
  const pattern = fc.array(part, { maxLength: 6 }).map((parts) => parts.join(''));

  it('match what KEYS of redis-server matches', async () => {
    const names = fc.uniqueArray(
      text.filter((name) => name !== ''),
      { minLength: 5, maxLength: 25 },
    );
    await fc.assert(
      fc.asyncProperty(names, fc.array(pattern, { maxLength: 20 }), async (keys, patterns) => {
        const sets = keys.map((key) => ['set', key, '1']);
        const [, ...replies] = await redis.ask([
          ['flushall'],
          ...sets,
          ...patterns.map((p) => ['keys', p]),
        ]);
        for (const [i, found] of replies.slice(keys.length).entries()) {
          const wanted = new Set(
            Array.isArray(found) ? found.map((name) => String(name).slice(1)) : [],
          );
          const ours = new Set(keys.filter((key) => matchesGlob(patterns[i] ?? '', key)));
          expect({ pattern: patterns[i], found: ours }).toEqual({
            pattern: patterns[i],
            found: wanted,
          });
        }
      }),
      { numRuns: 200, seed: 5 },
    );
  });

  it('take time in proportion to pattern and text, also where stars are many', () => {
    const stars = 'a*'.repeat(40);
    const started = performance.now();
    expect(matchesGlob(`${stars}b`, 'a'.repeat(2_000))).toBe(false);
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});

describe('slots', () => {
  it.each([
    ['123456789', 0x31c3],
    ['foo', 12_182],
    ['', 0],
    ['{user1000}.following', slotOf('user1000')],
    ['foo{}{bar}', 8_363],
    ['foo{{bar}}zap', slotOf('{bar')],
    ['foo{bar}{zap}', slotOf('bar')],
  ])('of %j are those of Redis Cluster', (key, slot) => {
    expect(slotOf(key)).toBe(slot);
  });
});

describe('the command table', () => {
  it('has the arity and the key positions that redis-server reports', async () => {
    const specs = [...commandTable.values()];
    const [replies] = await redis.ask([['command', 'info', ...specs.map(({ name }) => name)]]);
    if (!Array.isArray(replies)) throw new Error('COMMAND INFO answers an array');
    for (const [i, info] of replies.entries()) {
      const spec = specs[i];
      if (spec === undefined || !Array.isArray(info)) throw new Error('a command is missing');
      // OBJECT is a container there: its keys are those of its subcommands.
      if (spec.name === 'object') continue;
      const { name, arity, firstKey, lastKey, keyStep } = spec;
      expect([`$${name}`, `:${arity}`]).toEqual(info.slice(0, 2));
      expect([`:${firstKey}`, `:${lastKey}`, `:${keyStep}`], name).toEqual(info.slice(3, 6));
      const flags = new Set(spec.flags.map((flag) => `+${flag}`));
      expect({ name, flags }).toEqual({ name, flags: new Set(info[2]) });
    }
  });

  it('finds the keys of a command', () => {
    const keys = (...args: string[]): string[] => {
      const spec = commandTable.get(args[0] ?? '');
      return spec === undefined ? [] : commandKeys(spec, args);
    };
    expect(keys('get', 'a')).toEqual(['a']);
    expect(keys('mset', 'a', '1', 'b', '2')).toEqual(['a', 'b']);
    expect(keys('del', 'a', 'b', 'c')).toEqual(['a', 'b', 'c']);
    expect(keys('copy', 'a', 'b', 'replace')).toEqual(['a', 'b']);
    expect(keys('object', 'encoding', 'a')).toEqual(['a']);
    expect(keys('flushall')).toEqual([]);
  });
});
