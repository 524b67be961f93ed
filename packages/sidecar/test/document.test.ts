/**
 * The schema of the payload, with right header and MAC throughout: what is refused here is refused
 * for its shape. The msgpack decoder takes far more types than a key state has.
 */
import { RaftsealError } from '@raftseal/interface';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import { packDocument, unpackDocument } from '../src/document.ts';
import { plainMsgpackProblem } from '../src/plain-msgpack.ts';
import { sampleState } from './key-states.ts';

const document = { state: sampleState(), macDekId: 0x2000_0002 };
const packr = new Packr({ useRecords: false, moreTypes: true });
const fields: unknown[] = packr.unpack(packDocument(document));

function refuses(payload: Uint8Array, message?: string | RegExp): void {
  let error: unknown;
  try {
    unpackDocument(payload);
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(RaftsealError);
  expect(error).toMatchObject({ code: 'RAFTSEAL_SIDECAR_PAYLOAD' });
  if (message !== undefined) expect((error as Error).message).toMatch(message);
}

const withField = (place: number, value: unknown): Buffer =>
  packr.pack(fields.map((field, at) => (at === place ? value : field)));

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('unpackDocument', () => {
  it('reads its own bytes', () => {
    expect(unpackDocument(packDocument(document))).toEqual(document);
  });

  it.each([
    ['a field more', packr.pack([...fields, 1]), '16 fields where 15 are known'],
    ['a field less', packr.pack(fields.slice(0, -1)), '14 fields where 15 are known'],
    ['no list', packr.pack('RSSC'), 'no list'],
    [
      'a map instead of the list',
      packr.pack(Object.fromEntries(fields.entries())),
      'no plain value at byte 0',
    ],
    ['nothing', Buffer.alloc(0), 'no plain value at byte 0'],
    ['two documents', Buffer.concat([packDocument(document), packDocument(document)]), 'after'],
  ])('refuses %s', (_name, payload, message) => refuses(payload, message));

  it.each([
    ['clusterId of 15 bytes', 0, Buffer.alloc(15)],
    ['clusterId as text', 0, 'sixteen letters.'],
    ['clusterId missing', 0, null],
    ['nodeId as bytes', 1, Buffer.from('node-a')],
    ['generation as text', 2, '7'],
    ['appliedIndex missing', 3, null],
    ['appliedIndex with a 64-bit shard id', 3, [[1n, 1n]]],
    ['appliedIndex with triples', 3, [[0, 1n, 2n]]],
    ['cutoverIndex with a shard twice', 4, [[0, 1n], [0, 2n]]], // biome-ignore format: one line
    ['cutoverIndex out of order', 4, [[1, 1n], [0, 2n]]], // biome-ignore format: one line
    ['cutoverIndex without an index', 4, [[0, null]]],
    ['cutoverIntent without waves', 5, [1n]],
    ['cutoverIntent with flat waves', 5, [1n, [0, 1]]],
    ['storageIndex as list', 6, [1n]],
    ['activeDekId of two', 7, [1, 2]],
    ['activeDekId as text', 7, [1, 2, '3']],
    ['keys with a wrap that is no pair', 8, [[1, 1, [['a:']], 0n, 0]]],
    ['keys with a wrap as text', 8, [[1, 1, [['a:', 'wrap']], 0n, 0]]],
    ['keys with purpose 0', 8, [[1, 0, [['a:', Buffer.alloc(60)]], 0n, 0]]],
    ['keys with purpose 4', 8, [[1, 4, [['a:', Buffer.alloc(60)]], 0n, 0]]],
    ['keys with a time past 2^53', 8, [[1, 1, [['a:', Buffer.alloc(60)]], 2n ** 53n, 0]]],
    ['writers without a node id', 9, [[1, null]]],
    ['retired with purpose 4', 10, [[1, 4, 1n]]],
    ['retired out of order', 10, [[2, 1, 1n], [1, 1, 1n]]], // biome-ignore format: one line
    ['sealedOnlyIndex as text', 11, '1'],
    ['backups with an id twice', 12, [['a', 0n, []], ['a', 0n, []]]], // biome-ignore format: one line
    ['backups with a time past 2^53', 12, [['a', 2n ** 53n, []]]],
    ['backups with keys as text', 12, [['a', 0n, ['1']]]],
    ['sealedClusterKeys as text', 13, 'sealed'],
    ['macDekId as a 64-bit integer', 14, 1n],
  ])('refuses %s', (_name, place, value) => refuses(withField(place, value)));

  it.each([
    ['a RegExp', /(a+)+$/],
    ['an Error', new Error('planted')],
    ['a Set', new Set([1])],
    ['a Date', new Date(0)],
    ['a typed array', new Float64Array(2)],
    ['undefined', undefined],
    ['a bigint of 1,000 bits', 2n ** 1000n],
    ['a boolean', true],
    ['a float', 1.5],
    ['a negative number', -1],
    ['a negative 64-bit number', -1n],
    ['an object', { generation: 7n }],
  ])('refuses %s before the decoder builds it', (_name, value) => {
    for (let place = 0; place < fields.length; place++) {
      const payload = withField(place, value);
      expect(plainMsgpackProblem(payload)).toBeDefined();
      refuses(payload, /no plain value/);
    }
  });
});

describe('plainMsgpackProblem', () => {
  it.each([
    ['fixext 1', 'd4 72 40'],
    ['fixext 16', `d8 01 ${'00'.repeat(16)}`],
    ['ext 8', 'c7 01 72 00'],
    ['ext 16', 'c8 00 01 72 00'],
    ['ext 32', 'c9 00 00 00 01 72 00'],
    ['the byte that is never used', 'c1'],
    ['fixmap', '80'],
    ['map 16', 'de 00 00'],
    ['map 32', 'df 00 00 00 00'],
    ['float 32', 'ca 00 00 00 00'],
    ['float 64', 'cb 00 00 00 00 00 00 00 00'],
    ['int 8', 'd0 01'],
    ['int 16', 'd1 00 01'],
    ['int 32', 'd2 00 00 00 01'],
    ['negative fixint', 'ff'],
    ['false', 'c2'],
    ['true', 'c3'],
    ['an array that claims 2^32-1 elements', 'dd ff ff ff ff'],
    ['a string that claims 2^32-1 bytes', 'db ff ff ff ff 61'],
    ['an element missing', '92 01'],
    ['a length cut short', 'c5 00'],
    ['an integer cut short', 'cf 00 00'],
    ['seven levels', '91 91 91 91 91 91 91 01'],
    ['two values', '01 02'],
  ])('refuses %s', (_name, bytes) => {
    expect(plainMsgpackProblem(hex(bytes))).toBeDefined();
  });

  it.each([
    ['six levels', '91 91 91 91 91 91 01'],
    ['every integer', '97 00 7f cc ff cd ff ff ce ff ff ff ff cf ff ff ff ff ff ff ff ff c0'],
    [
      'a 64-bit integer of either token',
      '92 d3 7f ff ff ff ff ff ff ff cf 80 00 00 00 00 00 00 00',
    ],
    ['every string', '94 a1 61 d9 01 61 da 00 01 61 db 00 00 00 01 61'],
    ['every byte string', '93 c4 01 61 c5 00 01 61 c6 00 00 00 01 61'],
    ['every array', '93 90 dc 00 01 01 dd 00 00 00 01 01'],
    ['an empty array at the end', '92 01 90'],
  ])('passes %s', (_name, bytes) => {
    expect(plainMsgpackProblem(hex(bytes))).toBeUndefined();
  });

  it('survives a million nested arrays', () => {
    expect(plainMsgpackProblem(Buffer.alloc(1_000_000, 0x91))).toMatch(/levels/);
  });
});
