/** What the checks of the logs must find, on entries made by hand. */
import { describe, expect, it } from 'vitest';
import { checkLogs } from '../../src/checks/log-check.ts';
import { logPlaceOf, readEntry, readSeal, type StoredEntry } from '../../src/checks/log-entry.ts';
import { SealLedger } from '../../src/checks/seal-ledger.ts';

function envelope(counter: number, fill = counter): Buffer {
  const bytes = Buffer.alloc(40, fill);
  bytes[0] = 2;
  bytes[1] = 0;
  bytes.writeUInt32BE(7, 2);
  bytes.writeBigUInt64BE(BigInt(counter), 10);
  bytes.fill(0, 6, 10);
  return bytes;
}

const shardId = 3;

function clear(index: bigint, term = 1n): StoredEntry {
  return { shardId, index, term, isSealed: false, body: Buffer.from('D') };
}

function sealed(index: bigint, term = 1n): StoredEntry {
  return { shardId, index, term, isSealed: true, body: envelope(Number(index)) };
}

function problemsOf(entries: readonly StoredEntry[], cutoverIndex?: bigint): readonly string[] {
  const ledger = new SealLedger();
  const logs = new Map([[shardId, entries]]);
  return [...checkLogs({ logs, ledger, cutoverIndexOf: () => cutoverIndex }), ...ledger.problems];
}

describe('the entry of a log', () => {
  it('is read as docs/formats.md has it', () => {
    const place = logPlaceOf('/x/logs/3/00000000000000ff', '/x');
    expect(place).toEqual({ shardId: 3, index: 255n });
    const value = Buffer.concat([Buffer.alloc(13), Buffer.from([0x53]), envelope(9)]);
    value.writeBigUInt64BE(5n, 1);
    const entry = readEntry({ shardId: 3, index: 255n }, value);
    expect(entry).toMatchObject({ term: 5n, isSealed: true });
    expect(readSeal(entry.body)).toEqual({ dekId: 7, nonce: '000000000000000000000009' });
  });

  it('is one of this cluster, and of no other kind', () => {
    expect(logPlaceOf('/x/leaders/3', '/x')).toBeUndefined();
    expect(() => logPlaceOf('/x/logs/3/ff', '/x')).toThrow(/log entry/);
    expect(() => readEntry({ shardId, index: 1n }, Buffer.alloc(20))).toThrow(/payload tag/);
    expect(() => readSeal(Buffer.alloc(40))).toThrow(/envelope/);
  });
});

describe('the check of a log', () => {
  it('invariant 1: takes cleartext up to the cutover and sealed entries above it', () => {
    expect(problemsOf([clear(1n), clear(2n), sealed(3n), sealed(4n)], 2n)).toEqual([]);
    expect(problemsOf([clear(1n), clear(2n)])).toEqual([]);
  });

  it('invariant 1: finds cleartext above the cutover, and a seal at or below it', () => {
    expect(problemsOf([clear(1n), clear(2n), clear(3n)], 2n)).toEqual([
      'log of shard 3, entry 3: in the clear, with the cutover at 2',
    ]);
    expect(problemsOf([clear(1n), sealed(2n)], 2n)).toHaveLength(1);
    expect(problemsOf([sealed(1n)])).toHaveLength(1);
  });

  it('finds entries that are missing or out of order, and terms that go back', () => {
    expect(problemsOf([clear(1n), clear(3n)])).toEqual([
      'log of shard 3, entry 3: expected entry 2',
    ]);
    expect(problemsOf([clear(2n), clear(1n)])).toHaveLength(2);
    expect(problemsOf([clear(1n, 5n), clear(2n, 4n)])).toEqual([
      'log of shard 3, entry 2: term 4 after 5',
    ]);
  });

  it('invariant 3: finds a nonce that sealed two things, wherever they are', () => {
    const ledger = new SealLedger();
    ledger.add('log of shard 0, entry 1', envelope(1));
    ledger.add('store of n1', envelope(2));
    ledger.add('store of n2', envelope(2));
    expect(ledger.problems).toEqual([]);
    ledger.add('store of n3', envelope(2, 0xff));
    expect(ledger.problems).toEqual([
      'nonce 000000000000000000000002 under DEK 7 was used twice: store of n1; store of n3',
    ]);
    expect(ledger.seals).toBe(2);
  });
});
