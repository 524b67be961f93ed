import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Keyring, NonceSequence, StoreRowSeal } from '@raftseal/envelope';
import type { CommandBatch } from '@raftseal/interface';
import { expect, it } from 'vitest';
import { encodeCommand, encodeTransaction, KvStateMachine } from '../src/index.ts';

/** What a shard group makes of a log entry: here, commands in one buffer. */
function entry(index: bigint, ...commands: Buffer[]): CommandBatch {
  const bounds = { start: 0, end: 0 };
  const lengths = commands.map((command) => command.length);
  return {
    index,
    timestampMs: Date.now(),
    count: commands.length,
    bytes: Buffer.concat(commands),
    get start() {
      return bounds.start;
    },
    get end() {
      return bounds.end;
    },
    next() {
      const length = lengths.shift();
      bounds.start = bounds.end;
      bounds.end += length ?? 0;
      return length !== undefined;
    },
  };
}

it('the README example: apply, read, watch, seal', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'shard-'));
  const shard = await KvStateMachine.open({ directory, shardId: 0, seal: 'cleartext' });
  const replies = shard.apply(
    entry(
      1n,
      encodeCommand(['SET', 'greeting', 'hello']),
      encodeCommand(['HSET', 'user:1', 'name', 'Ada', 'visits', '1']),
      encodeCommand(['INCR', 'greeting']),
    ),
  ); // OK, 2, an error: 'ERR value is not an integer or out of range'

  const now = Date.now();
  const greeting = shard.query(['GET', 'greeting'], now); // 'hello'
  const transaction = encodeTransaction({
    watched: [{ key: 'user:1', version: shard.versionOf('user:1', now) }],
    commands: [
      ['HINCRBY', 'user:1', 'visits', '1'],
      ['HGET', 'user:1', 'visits'],
    ],
  });
  const [done] = shard.apply(entry(2n, transaction)); // [2, '2']
  const [late] = shard.apply(entry(3n, transaction)); // the null array: user:1 has changed

  const keyring = new Keyring();
  keyring.add(1, 'index', new Uint8Array(32).fill(1)); // keys of an example, not of a node
  keyring.add(2, 'storage', new Uint8Array(32).fill(2));
  const seal = new StoreRowSeal({ clusterId: new Uint8Array(16), keyring, indexDekId: 1 });
  seal.setActive({ dekId: 2, nonces: new NonceSequence({ writerId: 1, nonceEpoch: 1 }) });
  shard.sealRows(seal);
  const durableIndex = await shard.flush(); // 3n
  const { rowsSealed, rowsCleartext, cleartextLeft } = shard.statistics(); // 2, 0, false

  // Another replica: it takes what this one has, and then its log from the next index on.
  const replica = await KvStateMachine.open({ directory: `${directory}-2`, shardId: 0, seal });
  const snapshot = await shard.snapshot();
  await replica.install(snapshot.chunks(), snapshot);
  const [ours, theirs] = [await shard.digest(), await replica.digest()]; // the same
  await replica.close();
  await shard.close();

  expect(replies).toEqual([
    { kind: 'simple', text: 'OK' },
    2,
    { kind: 'error', text: 'ERR value is not an integer or out of range' },
  ]);
  expect(greeting).toBe('hello');
  expect(done).toEqual([2, '2']);
  expect(late).toEqual({ kind: 'null-array' });
  expect({ durableIndex, rowsSealed, rowsCleartext, cleartextLeft }).toEqual({
    durableIndex: 3n,
    rowsSealed: 2,
    rowsCleartext: 0,
    cleartextLeft: false,
  });
  expect(theirs).toEqual(ours);
  expect(snapshot.index).toBe(3n);
  await rm(directory, { recursive: true });
  await rm(`${directory}-2`, { recursive: true });
});
