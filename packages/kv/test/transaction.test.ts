import { afterEach, describe, expect, it } from 'vitest';
import { encodeCommand, encodeTransaction } from '../src/index.ts';
import { TestShard } from './support/shard.ts';

const shards: TestShard[] = [];
async function openShard(): Promise<TestShard> {
  const shard = await TestShard.open();
  shards.push(shard);
  return shard;
}
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

const nullArray = { kind: 'null-array' };
const ok = { kind: 'simple', text: 'OK' };

describe('a transaction', () => {
  it('applies all of its commands at once, refused ones among them', async () => {
    const shard = await openShard();
    const replies = shard.transaction([
      ['set', 'a', '1'],
      ['incr', 'a'],
      ['hget', 'a', 'f'],
      ['get', 'a', 'b'],
      ['GET', 'a'],
    ]);
    expect(replies).toEqual([
      ok,
      2,
      expect.objectContaining({ kind: 'error', text: expect.stringMatching(/^WRONGTYPE /) }),
      expect.objectContaining({ kind: 'error', text: expect.stringMatching(/^ERR wrong number/) }),
      '2',
    ]);
  });

  it('is not applied where a watched key has changed, come or gone', async () => {
    const shard = await openShard();
    const version = (key: string): bigint => shard.machine.versionOf(key, shard.nowMs);
    shard.line('set changed 1');
    shard.line('set gone 1');
    shard.line('hset hash f 1');
    for (const [key, change] of [
      ['changed', 'set changed 2'],
      ['gone', 'del gone'],
      ['new', 'set new 1'],
      ['hash', 'hincrby hash f 1'],
      ['hash', 'expire hash 1000'],
    ] as const) {
      const watched = [{ key, version: version(key) }];
      shard.line(change);
      expect(shard.transaction([['set', 'done', key]], watched)).toEqual(nullArray);
    }
    expect(shard.query('exists', 'done')).toBe(0);
  });

  it('is applied where every watched key is as it was, on disk or expired long ago', async () => {
    const shard = await openShard();
    shard.line('set a 1');
    shard.line('set short 1 PX 10');
    shard.nowMs += 100;
    const watched = ['a', 'absent', 'short'].map((key) => ({
      key,
      version: shard.machine.versionOf(key, shard.nowMs),
    }));
    await shard.reopen();
    shard.line('set other 1');
    shard.line('get a');
    expect(shard.transaction([['incr', 'a']], watched)).toEqual([2]);
    expect(shard.transaction([['incr', 'a']], watched)).toEqual(nullArray);
  });

  it('gives what is random the same on every replica', async () => {
    const [first, second] = [await openShard(), await openShard()];
    const command = encodeTransaction({
      watched: [],
      commands: [
        ['hset', 'h', ...Array.from({ length: 40 }, (_, i) => `${i}`)],
        ['hrandfield', 'h', '-5'],
        ['hrandfield', 'h', '3', 'withvalues'],
        ['hrandfield', 'h'],
      ],
    });
    for (let i = 0; i < 5; i++) expect(first.applyRaw(command)).toEqual(second.applyRaw(command));
  });
});

describe('log commands', () => {
  it('invariant 6: are fatal wherever they are cut short or go on too long', async () => {
    const whole = encodeTransaction({
      watched: [{ key: 'w', version: 0n }],
      commands: [
        ['set', 'key', 'value'],
        ['hset', 'h', 'f', 'v'],
      ],
    });
    const plain = encodeCommand(['set', 'key', 'value']);
    const fatal = expect.objectContaining({ code: 'RAFTSEAL_KV_COMMAND_MALFORMED', fatal: true });
    const cut = (bytes: Buffer, step: number): Buffer[] =>
      Array.from({ length: Math.ceil(bytes.length / step) }, (_, i) => bytes.subarray(0, i * step));
    const bad = [
      ...cut(plain, 1),
      ...cut(whole, 4),
      ...[plain, whole].map((bytes) => Buffer.concat([bytes, Buffer.alloc(1)])),
      ...['00', 'ff', '01ffffffff', 'f0ffffffff', 'f17f000000'].map((hex) =>
        Buffer.from(hex, 'hex'),
      ),
    ];
    for (const bytes of bad) {
      // A shard that has met one applies nothing any more.
      const shard = await openShard();
      expect(() => shard.applyRaw(bytes), bytes.toString('hex')).toThrow(fatal);
      expect(shard.machine.appliedIndex).toBe(0n);
    }
  });

  it('are refused before they are encoded where the name is unknown', () => {
    expect(() => encodeCommand(['ping'])).toThrow(TypeError);
    expect(() => encodeTransaction({ watched: [], commands: [['nope']] })).toThrow(TypeError);
  });
});
