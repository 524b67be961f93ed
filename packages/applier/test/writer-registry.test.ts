import { describe, expect, it } from 'vitest';
import { MemoryWriterRegistry, nextWriterId, WRITER_ID_MAX, writerIdOf } from '../src/index.ts';
import { firstRows, registerEpoch } from '../src/writer-registry.ts';

const row = { dekId: 7, writerId: 2, firstEpoch: 3, lastEpoch: 5 };
const registry = new MemoryWriterRegistry([row]);
const claim = (epoch: number, dekId = 7) => ({ dekId, writerId: 2, epoch });

describe('registering an epoch', () => {
  it('AREG-08: inserts the first row of a key and writer', () => {
    const inserted = { dekId: 8, writerId: 2, firstEpoch: 4, lastEpoch: 4 };
    expect(registerEpoch(registry, claim(4, 8))).toEqual({ kind: 'insert', row: inserted });
  });

  it('AREG-09: advances the last epoch and keeps the first', () => {
    const advanced = { ...row, lastEpoch: 6 };
    expect(registerEpoch(registry, claim(6))).toEqual({ kind: 'advance', row: advanced });
  });

  it('HAZARD AREG-10: accepts the same epoch again', () => {
    expect(registerEpoch(registry, claim(5))).toEqual({ kind: 'same' });
  });

  it('AREG-11: sees a lower one', () => {
    expect(registerEpoch(registry, claim(4))).toEqual({ kind: 'lower', lastEpoch: 5 });
  });

  it('AREG-13: keeps the rows of different keys apart', () => {
    expect(registerEpoch(registry, claim(1, 70)).kind).toBe('insert');
    expect(registerEpoch(registry, { dekId: 72, writerId: 7, epoch: 1 }).kind).toBe('insert');
  });

  it('gives first rows to those who have none, and lowers no other', () => {
    expect(firstRows(registry, { dekId: 7, writerIds: [1, 2, 3] })).toEqual([
      { dekId: 7, writerId: 1, firstEpoch: 1, lastEpoch: 1 },
      { dekId: 7, writerId: 3, firstEpoch: 1, lastEpoch: 1 },
    ]);
  });
});

describe('writer ids', () => {
  it('AREG-12: are given in order and never twice, so that no two nodes share one', () => {
    expect(nextWriterId(new Map())).toBe(1);
    expect(
      nextWriterId(
        new Map([
          [5, 'a'],
          [2, 'b'],
        ]),
      ),
    ).toBe(6);
    expect(
      nextWriterId(
        new Map([
          [1, 'a'],
          [9, 'b'],
        ]),
      ),
    ).toBe(10);
    expect(
      writerIdOf(
        new Map([
          [1, 'a'],
          [9, 'b'],
        ]),
        'b',
      ),
    ).toBe(9);
    expect(writerIdOf(new Map([[1, 'a']]), 'b')).toBeUndefined();
  });

  it('end at 65535', () => {
    expect(nextWriterId(new Map([[WRITER_ID_MAX - 1, 'a']]))).toBe(WRITER_ID_MAX);
    expect(nextWriterId(new Map([[WRITER_ID_MAX, 'a']]))).toBeUndefined();
  });
});

describe('a registry in memory', () => {
  it('replaces the row of the same key and writer, and keeps copies', async () => {
    const memory = new MemoryWriterRegistry();
    const mine = { ...row };
    await memory.put([mine]);
    mine.lastEpoch = 99;
    expect(memory.row(7, 2)?.lastEpoch).toBe(5);
    await memory.put([
      { ...row, lastEpoch: 6 },
      { ...row, writerId: 1 },
    ]);
    expect(memory.rows()).toHaveLength(2);
    expect(memory.row(7, 2)?.lastEpoch).toBe(6);
    expect(memory.row(7, 3)).toBeUndefined();
  });
});
