import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { CommandBatch, StateMachine } from '@raftseal/interface';
import { simulatedCluster } from '@raftseal/raft-engine-simulated';
import { expect, it } from 'vitest';
import { cleartext, type SealedWrap, ShardGroup, sealed } from '../src/index.ts';

/** A state machine: a list. `@raftseal/kv` is a larger one. */
class ListMachine implements StateMachine<number> {
  readonly items: string[] = [];
  readonly durableIndex = 0n;
  readonly durableTimestampMs = 0;
  apply(batch: CommandBatch): number[] {
    const lengths: number[] = [];
    while (batch.next()) {
      lengths.push(this.items.push(batch.bytes.toString('utf8', batch.start, batch.end)));
    }
    return lengths;
  }
  skip(): void {}
  async flush(): Promise<bigint> {
    return this.durableIndex;
  }
}

it('the README example: a shard is cut over while it is written to', async () => {
  // `@raftseal/envelope` seals for production; this is the same idea in a few lines.
  const key = randomBytes(32);
  const wrapAbove = (cutoverIndex: bigint): SealedWrap =>
    sealed({
      cutoverIndex,
      dekId: 1,
      seal: (body, index, headroomBytes) => {
        const nonce = randomBytes(12);
        const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(`${index}`));
        const sealedBody = Buffer.concat([cipher.update(body), cipher.final()]);
        return Buffer.concat([Buffer.alloc(headroomBytes), nonce, cipher.getAuthTag(), sealedBody]);
      },
      open: (envelope, index) => {
        const decipher = createDecipheriv('aes-256-gcm', key, envelope.subarray(0, 12), {
          authTagLength: 16,
        });
        decipher.setAAD(Buffer.from(`${index}`)).setAuthTag(envelope.subarray(12, 28));
        return Buffer.concat([decipher.update(envelope.subarray(28)), decipher.final()]);
      },
    });

  const cluster = simulatedCluster({ nodes: ['a'], shards: [0] });
  const machine = new ListMachine();
  const group: ShardGroup<number> = new ShardGroup(
    { shardId: 0 },
    {
      engine: cluster.engine('a', 0),
      stateMachine: machine,
      // `@raftseal/applier` decides what key-lifecycle entries do; here each is the marker.
      keyLifecycle: {
        apply: async ({ index }) => group.setRaftPayloadWrap(wrapAbove(index)),
      },
      wrap: cleartext,
    },
  );
  const propose = (command: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      group.propose(Buffer.from(command), (error, result) =>
        error ? reject(error) : resolve(result),
      );
    });

  await group.replay();
  group.campaign();
  while (group.state !== 'leading') await new Promise((resolve) => setTimeout(resolve, 1));

  await propose('one'); // index 1, in the clear
  const cutover = group.cutOver(Buffer.from('marker')); // index 2, in the clear
  const length = await propose('two'); // waits for the gate; index 3, sealed
  await cutover;

  const tags = cluster.log(0).map(({ payload }) => String.fromCharCode(payload[0] ?? 0));
  // tags is ['C', 'C', 'S'], length is 2, machine.items is ['one', 'two']
  await group.stop();

  expect([tags, length, machine.items]).toEqual([['C', 'C', 'S'], 2, ['one', 'two']]);
  const [, , last] = cluster.log(0).map(({ payload }) => Buffer.from(payload));
  expect(last?.includes('two')).toBe(false);
});
