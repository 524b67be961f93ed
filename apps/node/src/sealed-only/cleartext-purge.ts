/**
 * Has a node give up what it still holds in the clear. Order, for each shard: its log goes past its
 * cutover (an entry that changes nothing, where no client writes), its store makes that durable and
 * is sealed and rewritten, its log is truncated up to there; then the segment files are rid of what
 * was truncated. Nothing is lost by a crash between any two: each step only drops what the one before
 * has made superfluous, and the whole can be repeated.
 *
 * In a cluster the leader of a shard moves its log on and truncates it, once every member has made
 * so much durable; so all members are asked at the same time.
 */
import type { NodeShard } from '../node-shard.ts';
import {
  type CleartextLeft,
  type CleartextParts,
  cleartextLeft,
  leftInShard,
} from './cleartext-left.ts';

/** What is not gone by then may take long: large stores are sealed in the background. */
const PURGE_MS_MAX = 20_000;
const DROP_MS_MAX = 10_000;
const POLL_MS = 200;

export class CleartextPurge {
  readonly #parts: CleartextParts;
  #running: Promise<CleartextLeft> | undefined;

  constructor(parts: CleartextParts) {
    this.#parts = parts;
  }

  /** Resolves to what is left after a while; several callers share a run. */
  run(): Promise<CleartextLeft> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #run(): Promise<CleartextLeft> {
    const { shards, logs } = this.#parts;
    const endMs = performance.now() + PURGE_MS_MAX;
    await Promise.all(shards.map((shard) => this.#purge(shard, endMs)));
    await Promise.race([logs.dropTruncated(), pause(DROP_MS_MAX)]);
    return cleartextLeft(this.#parts);
  }

  async #purge(shard: NodeShard, endMs: number): Promise<void> {
    const { keys } = this.#parts;
    while (performance.now() < endMs) {
      const cutoverIndex = keys.state.cutoverIndex.get(shard.shardId);
      if (shard.isHalted || cutoverIndex === undefined) return;
      if ((await leftInShard(this.#parts, shard)).length === 0) return;
      // Seals the rows that are left, and rewrites the file; goes on where it takes too long.
      const step = async (): Promise<void> => {
        const isAtCutover = shard.group.appliedIndex <= cutoverIndex;
        if (isAtCutover && shard.isServing) await shard.proposeNothing();
        await shard.kv.flush();
        await shard.truncateOwn();
      };
      // What is refused shows in what is left.
      const stepped = step().catch(() => undefined);
      await Promise.race([stepped, pause(endMs - performance.now())]);
      await pause(POLL_MS);
    }
  }
}

async function pause(ms: number): Promise<void> {
  await new Promise<void>((resolve) => {
    setTimeout(resolve, Math.max(0, ms)).unref();
  });
}
