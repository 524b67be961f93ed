import { initialKeyState } from '@raftseal/applier';
import { simulatedCluster } from '@raftseal/raft-engine-simulated';
import { TAG_CLEARTEXT, TAG_SEALED } from '@raftseal/shard-group';
import { describe, expect, it } from 'vitest';
import { checkKeyStateAge, checkNoEntryIsPassed } from '../src/key-state-age.ts';

const REFUSAL = { code: 'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG' };

/** Three entries in the clear, the third of them the marker, and two sealed ones. */
async function checked(
  shard: { readonly durableIndex: bigint; readonly cutoverIndex: bigint | undefined },
  truncatedThrough = 0n,
): Promise<void> {
  const cluster = simulatedCluster({ nodes: ['a'], shards: [4] });
  const engine = cluster.engine('a', 4);
  const { term } = await engine.elect();
  const tags = [TAG_CLEARTEXT, TAG_CLEARTEXT, TAG_CLEARTEXT, TAG_SEALED, TAG_SEALED];
  for (const [at, tag] of tags.entries()) {
    await engine.append({ term, index: BigInt(at + 1), payload: Buffer.from([tag]) });
  }
  await engine.truncate(truncatedThrough);
  try {
    const { durableIndex, cutoverIndex } = shard;
    const cutovers = cutoverIndex === undefined ? [] : ([[4, cutoverIndex]] as const);
    const state = { ...initialKeyState('a'), cutoverIndex: new Map(cutovers) };
    await checkKeyStateAge(engine, { shardId: 4, durableIndex, state });
  } finally {
    await cluster.close();
  }
}

describe('a key state', () => {
  it('is as old as the log where the last entry that is not replayed is as it says', async () => {
    for (const durableIndex of [0n, 1n, 3n, 4n, 5n]) {
      await checked({ durableIndex, cutoverIndex: 3n });
    }
    for (const durableIndex of [0n, 1n, 3n]) {
      await checked({ durableIndex, cutoverIndex: undefined });
    }
  });

  it('invariant 1: is refused where that entry is sealed and it knows of no cutover', async () => {
    for (const durableIndex of [4n, 5n]) {
      await expect(checked({ durableIndex, cutoverIndex: undefined })).rejects.toMatchObject(
        REFUSAL,
      );
    }
    await expect(checked({ durableIndex: 5n, cutoverIndex: undefined }, 4n)).rejects.toMatchObject({
      ...REFUSAL,
      message: expect.stringContaining('entry 5 of shard 4'),
    });
  });

  it('invariant 1: is refused where it knows of a later cutover', async () => {
    await expect(checked({ durableIndex: 4n, cutoverIndex: 4n })).rejects.toMatchObject(REFUSAL);
  });

  it('invariant 9: is refused where it lacks an entry that the store has passed', () => {
    const recorded = [4n, 7n, 30n];
    const audit = {
      recordedAfter: (_: number, index: bigint) => recorded.find((each) => each > index),
    };
    const check = (applied: bigint, durableIndex: bigint): void => {
      const state = { ...initialKeyState('a'), appliedIndex: new Map([[0, applied]]) };
      checkNoEntryIsPassed({ shardId: 0, durableIndex, state }, audit);
    };
    // What is above the store's index is replayed, whatever the key state has.
    for (const durableIndex of [4n, 6n]) expect(() => check(4n, durableIndex)).not.toThrow();
    expect(() => check(30n, 40n)).not.toThrow();
    for (const durableIndex of [7n, 29n, 40n]) {
      expect(() => check(4n, durableIndex)).toThrow(expect.objectContaining(REFUSAL));
    }
  });

  it('cannot be told old from a log that has no such entry any more', async () => {
    await checked({ durableIndex: 4n, cutoverIndex: undefined }, 4n);
    await checked({ durableIndex: 9n, cutoverIndex: undefined });
  });
});
