import { codeOf } from '@raftseal/interface';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  COMMAND_HEADER_BYTES,
  cleartext,
  DATA_HEADER_BYTES,
  DataCursor,
  KIND_DATA,
  mustBeSealed,
  sealed,
} from '../src/index.ts';
import { writeDataHeader } from '../src/payload.ts';

function dataBody(commands: readonly Uint8Array[], timestampMs = 1_700_000_000_123): Buffer {
  const framed = commands.map((command) => {
    const header = Buffer.alloc(COMMAND_HEADER_BYTES);
    header.writeUInt32BE(command.length);
    return Buffer.concat([header, command]);
  });
  const body = Buffer.concat([Buffer.alloc(DATA_HEADER_BYTES), ...framed]);
  writeDataHeader(body, { timestampMs, count: commands.length });
  return body;
}

function commandsOf(cursor: DataCursor): Buffer[] {
  const commands: Buffer[] = [];
  while (cursor.next()) commands.push(cursor.bytes.subarray(cursor.start, cursor.end));
  return commands;
}

function refusalOf(body: Buffer): { code: string | undefined; fatal: unknown } {
  try {
    return { code: `accepted ${new DataCursor(1n, body).count}`, fatal: false };
  } catch (error) {
    return { code: codeOf(error), fatal: (error as { fatal?: unknown }).fatal };
  }
}

const malformed = { code: 'RAFTSEAL_SHARD_GROUP_MALFORMED_ENTRY', fatal: true };

describe('a data body', () => {
  it('is laid out as the table says', () => {
    const body = dataBody([Buffer.from('ab'), Buffer.from('')], 2 ** 32 + 2);
    expect(body.toString('hex')).toBe(
      ['44', '0000000100000002', '00000002', '00000002', '6162', '00000000'].join(''),
    );
  });

  it('gives back every command, in order, with index and timestamp', () => {
    const timestamps = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
    const commands = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 });
    fc.assert(
      fc.property(commands, timestamps, (given, timestampMs) => {
        const cursor = new DataCursor(9n, dataBody(given, timestampMs));
        expect([cursor.index, cursor.timestampMs, cursor.count]).toEqual([
          9n,
          timestampMs,
          given.length,
        ]);
        expect(commandsOf(cursor)).toEqual(given.map((command) => Buffer.from(command)));
        expect(cursor.next()).toBe(false);
      }),
    );
  });

  it('HOOK-02: is refused at every length but its own', () => {
    const body = dataBody([Buffer.from('one'), Buffer.from('three')]);
    for (let length = 0; length < body.length; length++) {
      expect(refusalOf(body.subarray(0, length)), `${length} bytes`).toEqual(malformed);
    }
    expect(refusalOf(Buffer.concat([body, Buffer.from([0])]))).toEqual(malformed);
  });

  it('is refused where count or length says more or less than there is', () => {
    for (const count of [0, 1, 3, 0xffff_ffff]) {
      const body = dataBody([Buffer.from('one'), Buffer.from('three')]);
      body.writeUInt32BE(count, DATA_HEADER_BYTES - 4);
      expect(refusalOf(body), `count ${count}`).toEqual(malformed);
    }
    for (const length of [2, 4, 0x7fff_ffff, 0xffff_ffff]) {
      const body = dataBody([Buffer.from('one'), Buffer.from('three')]);
      body.writeUInt32BE(length, DATA_HEADER_BYTES);
      expect(refusalOf(body), `length ${length}`).toEqual(malformed);
    }
  });

  it('is read whole or refused, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const body = Buffer.from([KIND_DATA, ...bytes]);
        const refusal = refusalOf(body);
        if (refusal.fatal !== false) {
          expect(refusal).toEqual(malformed);
          return;
        }
        const cursor = new DataCursor(1n, body);
        const read = commandsOf(cursor);
        expect(read).toHaveLength(cursor.count);
        const framed = read.reduce((sum, { length }) => sum + COMMAND_HEADER_BYTES + length, 0);
        expect(DATA_HEADER_BYTES + framed).toBe(body.length);
      }),
    );
  });
});

describe('a wrap', () => {
  const functions = { dekId: 7, seal: () => Buffer.alloc(0), open: () => Buffer.alloc(0) };

  it('HAZARD HOOK-03: demands a seal strictly above the cutover and nowhere else', () => {
    const wrap = sealed({ cutoverIndex: 5n, ...functions });
    const demanded = [4n, 5n, 6n, 7n].map((index) => mustBeSealed(wrap, index));
    expect(demanded).toEqual([false, false, true, true]);
    expect(mustBeSealed(cleartext, 2n ** 64n - 1n)).toBe(false);
  });

  it('WRAP-04: is not made for a cutover that no marker can have', () => {
    expect(() => sealed({ cutoverIndex: 0n, ...functions })).toThrow(RangeError);
  });
});
