import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { Keyring, NonceSequence, RaftSeal, StoreRowSeal } from '../src/index.ts';

it('the example of the README runs', () => {
  const clusterId = randomBytes(16);
  const keyring = new Keyring();
  keyring.add(1, 'raft', randomBytes(32));
  keyring.add(2, 'storage', randomBytes(32));
  keyring.add(3, 'index', randomBytes(32));

  // One sequence per DEK and process. The epoch was made durable before this line.
  const raftNonces = new NonceSequence({ writerId: 1, nonceEpoch: 1 });
  const storageNonces = new NonceSequence({ writerId: 1, nonceEpoch: 1 });

  // An entry of a log: sealed for index 42 of shard 0, with one byte of room before the envelope.
  const raft = new RaftSeal({ clusterId, keyring });
  const body = Buffer.from('SET greeting hello');
  const payload = raft.seal({ dekId: 1, nonces: raftNonces, shardId: 0, index: 42n }, body, 1);
  payload[0] = 0x53;
  const opened = raft.open({ shardId: 0, index: 42n }, payload.subarray(1));
  console.log(opened.toString()); // SET greeting hello
  try {
    raft.open({ shardId: 0, index: 43n }, payload.subarray(1));
  } catch (error) {
    console.log((error as { code?: string }).code); // RAFTSEAL_ENVELOPE_INTEGRITY
  }

  // A row of a store: what is on disk is a pseudo-random name, a header and an envelope.
  const rows = new StoreRowSeal({ clusterId, keyring, indexDekId: 3 });
  rows.setActive({ dekId: 2, nonces: storageNonces });
  const header = new Uint8Array(9);
  const name = rows.rowKey(0, Buffer.from('greeting'));
  const row = rows.seal(0, name, header, Buffer.from('hello'));
  console.log(rows.open(0, name, header, row).toString()); // hello

  expect(opened).toEqual(body);
  expect(() => raft.open({ shardId: 0, index: 43n }, payload.subarray(1))).toThrow(
    expect.objectContaining({ code: 'RAFTSEAL_ENVELOPE_INTEGRITY' }),
  );
  expect(rows.open(0, name, header, row).toString()).toBe('hello');
});
