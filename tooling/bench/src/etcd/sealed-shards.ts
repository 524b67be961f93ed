/**
 * Shard groups over etcd in this process, which lead their shards and seal what they append, with a
 * state machine that does next to nothing.
 */
import { randomBytes } from 'node:crypto';
import { Keyring, NonceSequence, RaftSeal } from '@raftseal/envelope';
import type { CommandBatch, RaftEngine, StateMachine } from '@raftseal/interface';
import { openEtcdLog } from '@raftseal/raft-engine-etcd';
import { cleartext, type SealedWrap, ShardGroup, sealed } from '@raftseal/shard-group';
import type { Teardown } from '../teardown.ts';
import { until } from '../until.ts';

/** How the appends of several shards travel. */
export type Commit = 'one transaction for all shards' | 'one transaction per shard';

export interface SealedShardsOptions {
  readonly endpoints: readonly string[];
  readonly prefix: string;
  readonly shardCount: number;
  readonly commit: Commit;
  /** Quota of the members. */
  readonly spaceBytesMax: number;
}

const DEK_ID = 1;
const LEADING_WITHIN_MS = 20_000;

/** Answers each command with its length. */
class LengthMachine implements StateMachine<number> {
  readonly durableIndex = 0n;
  readonly durableTimestampMs = 0;

  apply(batch: CommandBatch): number[] {
    const lengths: number[] = [];
    while (batch.next()) lengths.push(batch.end - batch.start);
    return lengths;
  }

  skip(): void {}

  async flush(): Promise<bigint> {
    return this.durableIndex;
  }
}

/** Each of them is cut over and leads once this resolves. */
export async function openSealedShards(
  options: SealedShardsOptions,
  teardown: Teardown,
): Promise<readonly ShardGroup<number>[]> {
  const shardIds = Array.from({ length: options.shardCount }, (_, shardId) => shardId);
  // A node gathers the appends of its shards, so who has one shard only sends each by itself.
  const nodes =
    options.commit === 'one transaction per shard' ? shardIds.map((id) => [id]) : [shardIds];
  const wrapAbove = newWraps();
  const groups = await Promise.all(
    nodes.map(async (ids, node) => {
      const { endpoints, prefix, spaceBytesMax } = options;
      const access = { endpoints, requestTimeoutMs: 10_000 };
      const nodeId = `node-${node}`;
      const log = await openEtcdLog({ access, prefix, nodeId, shardIds: ids, spaceBytesMax });
      teardown.add(() => log.close());
      return ids.map((shardId) => newGroup(shardId, log.engine(shardId), wrapAbove));
    }),
  );
  return Promise.all(groups.flat().map((group) => lead(group, teardown)));
}

/** One key and one sequence of nonces for all shards, as in a node. */
function newWraps(): (shardId: number, cutoverIndex: bigint) => SealedWrap {
  const keyring = new Keyring();
  keyring.add(DEK_ID, 'raft', randomBytes(32));
  const nonces = new NonceSequence({ writerId: 1, nonceEpoch: 1 });
  const raftSeal = new RaftSeal({ clusterId: randomBytes(16), keyring });
  return (shardId, cutoverIndex) =>
    sealed({
      cutoverIndex,
      dekId: DEK_ID,
      seal: (body, index, headroomBytes) =>
        raftSeal.seal({ dekId: DEK_ID, nonces, shardId, index }, body, headroomBytes),
      open: (envelope, index) => raftSeal.open({ shardId, index }, envelope),
    });
}

function newGroup(
  shardId: number,
  engine: RaftEngine,
  wrapAbove: ReturnType<typeof newWraps>,
): ShardGroup<number> {
  const group: ShardGroup<number> = new ShardGroup(
    { shardId },
    {
      engine,
      stateMachine: new LengthMachine(),
      // The only entry of this kind is the marker.
      keyLifecycle: {
        apply: async ({ index }) => group.setRaftPayloadWrap(wrapAbove(shardId, index)),
      },
      wrap: cleartext,
    },
  );
  return group;
}

async function lead(group: ShardGroup<number>, teardown: Teardown): Promise<ShardGroup<number>> {
  teardown.add(() => group.stop());
  await group.replay();
  group.campaign();
  const what = `shard ${group.shardId} to be led`;
  await until(() => group.state === 'leading', { what, withinMs: LEADING_WITHIN_MS, everyMs: 2 });
  await group.cutOver(Buffer.from('marker'));
  return group;
}
