import { describe, expect, it } from 'vitest';
import { decodeSnapshotHeader, encodeSnapshotHeader } from '../../src/cluster/snapshot-exchange.ts';

const header = {
  clusterName: '0123456789abcdef'.repeat(2),
  shardId: 3,
  index: 2n ** 40n,
  timestampMs: 1_795_000_000_000,
  keyState: Buffer.from('key state'),
};

describe('the header of a snapshot', () => {
  it('is read as it was written, with a key state or none', () => {
    expect(decodeSnapshotHeader(encodeSnapshotHeader(header))).toEqual(header);
    const without = { ...header, keyState: Buffer.alloc(0) };
    expect(decodeSnapshotHeader(encodeSnapshotHeader(without))).toEqual(without);
  });

  it('is refused at every other length, with another magic or version', () => {
    const bytes = encodeSnapshotHeader(header);
    const refused = [
      ...Array.from({ length: bytes.length }, (_, length) => bytes.subarray(0, length)),
      Buffer.concat([bytes, Buffer.alloc(1)]),
      Buffer.from(bytes).fill(0, 0, 1),
      Buffer.from(bytes).fill(9, 5, 6),
      Buffer.from(bytes).fill(0xff, 34, 42),
    ];
    for (const each of refused) {
      expect(() => decodeSnapshotHeader(each)).toThrow(
        expect.objectContaining({ code: 'RAFTSEAL_NODE_SNAPSHOT_INVALID' }),
      );
    }
  });
});
