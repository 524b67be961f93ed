/**
 * Rows that do not open on the replica that leads: whatever a client sends, it is refused before it
 * is proposed, and what is not refused does the same on every replica.
 */
import { type ByteString, errorReply, type Reply } from '@raftseal/interface';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeExpiry } from '../src/command-codec.ts';
import {
  commandKeys,
  commandTable,
  encodeCommand,
  encodeTransaction,
  KvStateMachine,
} from '../src/index.ts';
import { anyCommand } from './support/arbitraries.ts';
import { rowSeal } from './support/seal.ts';
import { TestShard } from './support/shard.ts';
import { editRows, flipBit } from './support/store-files.ts';

const ROW_CORRUPT = 'RAFTSEAL_KV_ROW_CORRUPT';
const UNKNOWN_DEK = 999;
const seal = rowSeal();

/** What happened to a row: on its disk, or to the DEK that it is under. */
const damages = {
  'damaged on disk': (row: Buffer): Buffer => flipBit(row, row.length * 8 - 1),
  'sealed under a DEK that is not there': (row: Buffer): Buffer => {
    const value = Buffer.from(row);
    value.writeUInt32BE(UNKNOWN_DEK, 9 + 2);
    return value;
  },
} as const;
type Damage = keyof typeof damages;
const kinds = Object.keys(damages) as Damage[];

const shards: TestShard[] = [];
afterEach(async () => {
  for (const shard of shards.splice(0)) await shard.dispose();
});

/** A leader whose rows of these keys are damaged, and a follower whose rows are whole. */
class Replicas {
  readonly leader: TestShard;
  readonly follower: TestShard;
  readonly damaged: Set<ByteString>;

  private constructor(leader: TestShard, follower: TestShard, damaged: readonly ByteString[]) {
    this.leader = leader;
    this.follower = follower;
    this.damaged = new Set(damaged);
  }

  static async open(
    lines: readonly string[],
    damaged: readonly ByteString[],
    kind: Damage = 'damaged on disk',
  ): Promise<Replicas> {
    const leader = await TestShard.open({ seal });
    const follower = await TestShard.open({ seal });
    shards.push(leader, follower);
    for (const shard of [leader, follower]) {
      for (const line of lines) shard.line(line);
      await shard.machine.close();
    }
    const rowKeys = damaged.map((key) => seal.rowKey(3, Buffer.from(key)));
    await editRows(leader.options.directory, 'sealed', ({ key, value }) =>
      rowKeys.some((rowKey) => rowKey.equals(key)) ? damages[kind](value) : value,
    );
    for (const shard of [leader, follower]) {
      shard.machine = await KvStateMachine.open(shard.options);
    }
    return new Replicas(leader, follower, damaged);
  }

  /** As a shard group does it: refused by who leads, or applied by all. */
  propose(command: Buffer): Reply {
    const refusal = this.leader.machine.refusal(command);
    if (refusal !== undefined) {
      expect(refusal.code).toBe(ROW_CORRUPT);
      return refused;
    }
    const [reply] = this.leader.applyRaw(command);
    expect(this.follower.applyRaw(command)).toEqual([reply]);
    return reply ?? null;
  }

  run(...args: ByteString[]): Reply {
    return this.propose(encodeCommand(args));
  }

  /** Nothing else was lost or changed: with the damaged keys set anew, both hold the same. */
  async expectEqual(): Promise<void> {
    for (const key of this.damaged) expect(this.run('set', key, 'healed')).toEqual(ok);
    await this.leader.machine.flush();
    expect(this.leader.state()).toBe(this.follower.state());
    expect(await this.leader.machine.digest()).toEqual(await this.follower.machine.digest());
  }
}

const ok: Reply = { kind: 'simple', text: 'OK' };
const refused = errorReply(ROW_CORRUPT);
const lines = ['set bad 1', 'hset badhash f 1', 'set good 1 PX 90000', 'hset goodhash f 1'];

/** Each command that writes, on a key that it is for; what is refused, and what goes through. */
const needing: readonly string[] = [
  'set bad v NX | set bad v XX | set bad v GET | set bad v KEEPTTL | set bad v EX 9 get',
  'setnx bad v | getset bad v | getdel bad | getex bad | getex bad EX 10',
  'msetnx new v bad v | append bad v | setrange bad 0 v | setbit bad 1 1 | incr bad',
  'decr bad | incrby bad 2 | decrby bad 2 | incrbyfloat bad 2 | del good bad',
  'unlink bad | rename bad new | renamenx bad new | renamenx good bad | copy bad new',
  'copy bad new REPLACE | copy good bad | expire bad 9 | pexpire bad 9 | expireat bad 9',
  'pexpireat bad 9 | persist bad | hset badhash f v | hmset badhash f v',
  'hsetnx badhash f v | hdel badhash f | hincrby badhash f 1 | hincrbyfloat badhash f 1',
].flatMap((line) => line.split(' | '));
/** Each replaces the damaged row of a key of its own. */
const replacing: readonly string[] = [
  'set bad0 v | set bad1 v EX 100 | set bad2 v PXAT 90000000000000 | setex bad3 100 v',
  'psetex bad4 100 v | mset new v bad5 v | copy good bad6 REPLACE | rename good bad7',
].flatMap((line) => line.split(' | '));
const emptying = {
  'damaged on disk': 'flushall',
  'sealed under a DEK that is not there': 'flushdb',
};
const replaced = Array.from({ length: 9 }, (_, n) => `bad${n}`);

describe.each(kinds)('a row of the leader that is %s', (kind) => {
  it('invariant 11: refuses each command that needs it, and nothing else', async () => {
    const replicas = await Replicas.open(lines, ['bad', 'badhash'], kind);
    const before = replicas.leader.machine.appliedIndex;
    for (const line of needing) expect(replicas.run(...line.split(' ')), line).toEqual(refused);
    expect(replicas.leader.machine.appliedIndex).toBe(before);
    expect(replicas.run('append', 'good', '!')).toBe(2);
    expect(replicas.run('hset', 'goodhash', 'g', 'v')).toBe(1);
    await replicas.expectEqual();
  });

  it('is replaced by each command that does not need it', async () => {
    const bad = replaced.map((key) => `set ${key} 1`);
    const replicas = await Replicas.open([...lines, ...bad], replaced, kind);
    for (const [n, line] of [...replacing, emptying[kind]].entries()) {
      expect(replicas.run('append', `bad${n}`, ''), line).toBe(refused);
      expect(replicas.run(...line.split(' ')), line).toEqual(line.startsWith('copy') ? 1 : ok);
      expect(replicas.run('append', `bad${n}`, ''), line).not.toBe(refused);
    }
    await replicas.expectEqual();
  });

  it('invariant 11: refuses a transaction that needs it anywhere, as a whole', async () => {
    const replicas = await Replicas.open(lines, ['bad'], kind);
    const set = ['set', 'good', 'v'];
    const needingIt = [
      { commands: [set, ['incr', 'bad']], watched: [] },
      { commands: [set, ['get', 'bad']], watched: [] },
      { commands: [set, ['mget', 'good', 'bad']], watched: [] },
      { commands: [set], watched: [{ key: 'bad', version: 1n }] },
    ];
    for (const request of needingIt) {
      expect(replicas.propose(encodeTransaction(request))).toEqual(refused);
    }
    expect(replicas.leader.query('get', 'good')).toBe('1');
    const without = { commands: [set, ['mset', 'bad', 'v'], ['get', 'good']], watched: [] };
    expect(replicas.propose(encodeTransaction(without))).toEqual([ok, ok, 'v']);
    await replicas.expectEqual();
  });

  it('invariant 11: is left alone by expiry, which a leader proposes by itself', async () => {
    const replicas = await Replicas.open(
      ['set bad 1 PX 5', 'set good 1 PX 5', 'set other 1'],
      ['bad'],
      kind,
    );
    for (const shard of [replicas.leader, replicas.follower]) shard.nowMs += 10;
    const { leader } = replicas;
    expect(replicas.propose(leader.machine.expired(leader.nowMs, 10) ?? Buffer.of())).toBe(1);
    expect(leader.machine.expired(leader.nowMs, 10)).toBeUndefined();
    const both = [
      { key: 'other', expireAtMs: 1 },
      { key: 'bad', expireAtMs: 1 },
    ];
    expect(replicas.propose(encodeExpiry(both))).toEqual(refused);
    await replicas.expectEqual();
  });
});

describe('what a leader refuses', () => {
  it('is shown for every command that writes', () => {
    const shown = new Set(
      [...needing, ...replacing, ...Object.values(emptying)].map(
        (line) => line.split(' ')[0] ?? '',
      ),
    );
    const writes = [...commandTable.values()].filter(({ kind }) => kind === 'write');
    expect([...shown].sort()).toEqual(writes.map(({ name }) => name).sort());
  });

  it('invariant 11: never leaves a command that ends the shard', async () => {
    const start = ['set a 1', 'set b x', 'set c 1 PX 9000000', 'hset h f1 1', 'hset g f2 v'];
    const one = fc.tuple(fc.array(anyCommand, { maxLength: 8 }), fc.boolean());
    const script = fc.array(one, { minLength: 30, maxLength: 80 });
    const damaged = fc.subarray(['a', 'b', 'c', 'h', 'g'], { minLength: 2 });
    let refusals = 0;
    await fc.assert(
      fc.asyncProperty(script, damaged, fc.constantFrom(...kinds), async (steps, keys, kind) => {
        const replicas = await Replicas.open(start, keys, kind);
        for (const [commands, together] of steps) {
          for (const request of requestsOf(commands, together)) {
            if (replicas.propose(request.bytes) !== refused) continue;
            refusals++;
            const named = request.commands.flatMap(keysOf);
            expect(named.some((key) => replicas.damaged.has(key))).toBe(true);
          }
        }
        await replicas.expectEqual();
        for (const shard of shards.splice(0)) await shard.dispose();
      }),
      { numRuns: 8, seed: 20_261_121, endOnFailure: false },
    );
    expect(refusals).toBeGreaterThan(100);
  }, 60_000);

  it('is what made the shard fail, once it has', async () => {
    const { leader } = await Replicas.open(lines, ['bad']);
    expect(() => leader.line('append bad x')).toThrow(
      expect.objectContaining({ code: ROW_CORRUPT, fatal: true }),
    );
    expect(leader.machine.refusal(encodeCommand(['set', 'new', 'v']))).toMatchObject({
      code: ROW_CORRUPT,
      fatal: true,
    });
  });

  it('is bytes that are no command', async () => {
    const { leader } = await Replicas.open(lines, []);
    const whole = encodeTransaction({
      commands: [['incr', 'good']],
      watched: [{ key: 'good', version: 1n }],
    });
    for (let length = 0; length < whole.length; length++) {
      expect(leader.machine.refusal(whole.subarray(0, length)), `${length}`).toMatchObject({
        code: 'RAFTSEAL_KV_COMMAND_MALFORMED',
      });
    }
    expect(leader.machine.refusal(Uint8Array.from(whole))).toBeUndefined();
  });
});

describe('what a leader has looked at', () => {
  it('counts for nothing: absent keys stay absent, and are set and counted as others', async () => {
    const shard = await TestShard.open({ seal, cacheBytesMax: 3_000 });
    shards.push(shard);
    for (let n = 0; n < 50; n++) shard.run('set', `k${n}`, 'v');
    await shard.reopen();
    for (let n = 0; n < 100; n++) shard.ask('del', `absent${n}`);
    expect(shard.machine.size()).toBe(50);
    expect(shard.machine.statistics().cacheBytes).toBeLessThan(4_000);
    for (let n = 0; n < 100; n += 2) expect(shard.ask('incr', `absent${n}`)).toBe(1);
    expect(shard.machine.size()).toBe(100);
    expect(shard.scanAll()).toHaveLength(100);
    await shard.reopen();
    expect(shard.machine.size()).toBe(100);
    expect(shard.query('get', 'absent98')).toBe('1');
    expect(shard.query('get', 'absent99')).toBe(null);
  });
});

function requestsOf(
  commands: readonly (readonly ByteString[])[],
  together: boolean,
): readonly { bytes: Buffer; commands: readonly (readonly ByteString[])[] }[] {
  if (together) return [{ bytes: encodeTransaction({ commands, watched: [] }), commands }];
  return commands.map((args) => ({ bytes: encodeCommand(args), commands: [args] }));
}

function keysOf(args: readonly ByteString[]): ByteString[] {
  const spec = commandTable.get((args[0] ?? '').toLowerCase());
  return spec === undefined ? [] : commandKeys(spec, args);
}
