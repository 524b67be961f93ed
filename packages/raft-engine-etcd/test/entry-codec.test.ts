import { expect, it } from 'vitest';
import { decodeEntry, encodeEntry } from '../src/entry-codec.ts';

const entry = { index: 0x0102030405n, term: 0x1122334455667788n, payload: Buffer.from('payload') };
const bytes = '0111223344556677889f6f0a3d7061796c6f6164';

it('an entry has the bytes of the format', () => {
  expect(encodeEntry(7, entry).toString('hex')).toBe(bytes);
  expect(decodeEntry(7, entry.index, Buffer.from(bytes, 'hex'))).toEqual(entry);
});

it('an empty payload is one', () => {
  const empty = { index: 1n, term: 1n, payload: Buffer.alloc(0) };
  expect(decodeEntry(0, 1n, encodeEntry(0, empty))).toEqual(empty);
});

it('invariant 7: any bit that flips, and any other place, is damage', () => {
  const value = encodeEntry(7, entry);
  const corrupt = expect.objectContaining({ code: 'RAFTSEAL_ENGINE_CORRUPT', fatal: true });
  const decode = (shardId: number, index: bigint, from: Buffer) => () =>
    decodeEntry(shardId, index, from);
  for (let bit = 0; bit < 8 * value.length; bit++) {
    const flipped = Buffer.from(value);
    const place = bit >> 3;
    flipped[place] = (flipped[place] ?? 0) ^ (1 << (bit & 7));
    expect(decode(7, entry.index, flipped), `bit ${bit}`).toThrow(corrupt);
  }
  for (let length = 0; length < value.length; length++) {
    expect(decode(7, entry.index, value.subarray(0, length)), `${length} bytes`).toThrow(corrupt);
  }
  expect(decode(8, entry.index, value)).toThrow(corrupt);
  expect(decode(7, entry.index + 1n, value)).toThrow(corrupt);
});
