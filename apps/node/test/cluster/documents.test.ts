/** What nodes write into etcd for each other, and what they make of things that nobody wrote. */
import { describe, expect, it } from 'vitest';
import {
  decodeMember,
  decodeRecord,
  encodeMember,
  encodeRecord,
} from '../../src/cluster/cluster-record.ts';
import { decodePresence, encodePresence } from '../../src/cluster/presence.ts';

const presence = {
  redis: { host: '10.0.0.1', port: 6379 },
  peer: { host: 'node-1.example', port: 8379 },
  stands: true,
  appliedIndexes: [7n, 2n ** 60n],
  durableIndexes: [5n, 0n],
  seals: new Map([
    [1, 2n ** 32n],
    [0xffff_ffff, 7n],
  ]),
};

describe('the presence of a node', () => {
  it('is read as it was written, with and without addresses', () => {
    expect(decodePresence(encodePresence(presence))).toEqual(presence);
    const starting = { ...presence, redis: undefined, peer: undefined };
    expect(decodePresence(encodePresence(starting))).toEqual(starting);
  });

  const foreign = [
    '',
    '[]',
    'null',
    '{}',
    '{"redis":null,"peer":null,"stands":true,"appliedIndexes":[],"durableIndexes":[1]}',
    '{"redis":null,"peer":null,"stands":true,"appliedIndexes":["-1"],"durableIndexes":[]}',
    '{"redis":null,"peer":7,"stands":true,"appliedIndexes":[],"durableIndexes":[]}',
    '{"redis":{"host":"","port":1},"peer":null,"stands":true,"appliedIndexes":[],"durableIndexes":[]}',
    '{"redis":{"host":"a","port":65536},"peer":null,"stands":true,"appliedIndexes":[],"durableIndexes":[]}',
    '{"redis":{"host":"a","port":0},"peer":null,"stands":true,"appliedIndexes":[],"durableIndexes":[]}',
    '{"redis":null,"peer":null,"appliedIndexes":[],"durableIndexes":[]}',
    '{"redis":null,"peer":null,"stands":1,"appliedIndexes":[],"durableIndexes":[]}',
    '{"peer":null,"stands":true,"appliedIndexes":[],"durableIndexes":[]}',
    '{"redis":null,"peer":null,"stands":true,"appliedIndexes":[],"durableIndexes":[],"seals":[]}',
    '{"redis":null,"peer":null,"stands":true,"appliedIndexes":[],"durableIndexes":[],"seals":{"0":"1"}}',
    '{"redis":null,"peer":null,"stands":true,"appliedIndexes":[],"durableIndexes":[],"seals":{"4294967296":"1"}}',
    '{"redis":null,"peer":null,"stands":true,"appliedIndexes":[],"durableIndexes":[],"seals":{"1":-1}}',
    '{"redis":null,"peer":null,"stands":true,"appliedIndexes":[],"durableIndexes":[],"seals":{"1":"1e9"}}',
  ];
  it.each(foreign)('is none where it says %j', (text) => {
    expect(decodePresence(Buffer.from(text))).toBeUndefined();
  });
});

describe('the record of a cluster', () => {
  const record = { name: '0123456789abcdef'.repeat(2), formatVersion: 1, shardCount: 16 };

  it('is read as it was written', () => {
    expect(decodeRecord({ value: encodeRecord(record) })).toEqual(record);
  });

  const refused = [
    '',
    '{}',
    JSON.stringify({ ...record, formatVersion: 2 }),
    JSON.stringify({ ...record, name: 'x' }),
    JSON.stringify({ ...record, shardCount: 0 }),
    JSON.stringify({ ...record, shardCount: 1025 }),
  ];
  it.each(refused)('is refused where it says %j', (text) => {
    expect(() => decodeRecord({ value: Buffer.from(text) })).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_NODE_CLUSTER_FORMAT' }),
    );
  });
});

describe('a member', () => {
  it('has a role, or none that is known', () => {
    expect(decodeMember(encodeMember('voter'))).toBe('voter');
    expect(decodeMember(encodeMember('learner'))).toBe('learner');
    expect(decodeMember(Buffer.from('{"role":"king"}'))).toBeUndefined();
    expect(decodeMember(Buffer.from('king'))).toBeUndefined();
  });
});
