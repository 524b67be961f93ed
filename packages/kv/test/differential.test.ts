/**
 * The same random commands to a shard and to a redis-server: the same replies. Between commands the
 * shard takes checkpoints, drops its cache and is opened again, which no reply may show.
 */
import type { ByteString } from '@raftseal/interface';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { anyCommand } from './support/arbitraries.ts';
import { RedisOracle, type Shown, shown } from './support/redis-oracle.ts';
import { rowSeal } from './support/seal.ts';
import { TestShard } from './support/shard.ts';

/** Both clocks run: a time that was relative is compared as far as they can differ. */
const CLOCKS_APART_MS = 5_000;

type Step = readonly ByteString[] | 'checkpoint' | 'flush' | 'reopen' | 'yield';

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 300, arbitrary: anyCommand as fc.Arbitrary<Step> },
    { weight: 10, arbitrary: fc.constantFrom<Step>('checkpoint', 'flush', 'yield') },
    { weight: 1, arbitrary: fc.constant<Step>('reopen') },
  ),
  { minLength: 20, maxLength: 60 },
);

function isClose(left: Shown, right: Shown, apart: number): boolean {
  if (typeof left !== 'string' || typeof right !== 'string') return false;
  if (!left.startsWith(':') || !right.startsWith(':')) return false;
  const [a, b] = [Number(left.slice(1)), Number(right.slice(1))];
  return a > 0 && b > 0 && Math.abs(a - b) <= apart;
}

/** What Redis answers in no defined order, in one. */
function canonical(name: string, reply: Shown): Shown {
  if (!Array.isArray(reply)) return reply;
  const flat = name === 'hscan' ? reply[1] : reply;
  if (!Array.isArray(flat)) return reply;
  const width = { hkeys: 1, hvals: 1, hrandfield: 1, hgetall: 2, hscan: 2 }[name];
  if (width === undefined) return reply;
  const items = flat.flatMap((_, i) =>
    i % width === 0 ? [JSON.stringify(flat.slice(i, i + width))] : [],
  );
  return items.sort((left, right) => (left < right ? -1 : 1));
}

function sameReply(args: readonly ByteString[], ours: Shown, theirs: Shown): boolean {
  const name = (args[0] ?? '').toLowerCase();
  const apart = { pttl: CLOCKS_APART_MS, pexpiretime: CLOCKS_APART_MS, ttl: 5, expiretime: 5 };
  if (name in apart && isClose(ours, theirs, apart[name as keyof typeof apart])) return true;
  return JSON.stringify(canonical(name, ours)) === JSON.stringify(canonical(name, theirs));
}

let redis: RedisOracle;
beforeAll(async () => {
  redis = await RedisOracle.start();
});
afterAll(() => redis.stop());

async function play(shard: TestShard, script: readonly Step[]): Promise<void> {
  const commands = script.filter((step) => typeof step !== 'string');
  const [, ...theirs] = await redis.ask([['FLUSHALL'], ...commands]);
  shard.nowMs = Date.now();
  shard.line('flushall');
  let asked = 0;
  for (const step of script) {
    if (step === 'flush') await shard.machine.flush();
    else if (step === 'reopen') await shard.reopen();
    else if (step === 'checkpoint') void shard.machine.flush();
    else if (step === 'yield') await new Promise((resolve) => setTimeout(resolve, 1));
    if (typeof step === 'string') continue;
    const ours = shown(shard.ask(...step));
    const wanted = theirs[asked++] ?? null;
    if (!sameReply(step, ours, wanted)) {
      expect({ step, reply: ours }).toEqual({ step, reply: wanted });
    }
  }
  const all = (await redis.ask([['KEYS', '*']]))[0];
  const keys = Array.isArray(all) ? all.map((name) => String(name).slice(1)).sort() : [];
  expect(shard.scanAll(2)).toEqual(keys);
  expect(shard.machine.keys('*', shard.nowMs).sort()).toEqual(keys);
}

describe.each([
  { name: 'in the clear', seal: 'cleartext', seed: 20_240_601 },
  { name: 'sealed', seal: rowSeal(), seed: 20_240_602 },
] as const)('a shard with rows $name', ({ seal, seed }) => {
  it('answers random commands as redis-server 7.0 does', async () => {
    const shard = await TestShard.open({ seal, cacheBytesMax: 2_000 });
    try {
      await fc.assert(
        fc.asyncProperty(steps, (script) => play(shard, script)),
        { numRuns: 150, seed, endOnFailure: false },
      );
    } finally {
      await shard.dispose();
    }
  }, 60_000);
});
