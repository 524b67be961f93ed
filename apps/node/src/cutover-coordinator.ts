/**
 * Carries a requested cutover to every shard. The request is one entry on the control shard, which
 * is that shard's own marker and the intent for all others; whoever leads a shard, now or later,
 * that sees the intent and no cutover on its shard, proposes the marker. So the cutover needs
 * neither the caller who asked for it nor the leader who began it.
 */
import { encodeEntry } from '@raftseal/applier';
import { CONTROL_SHARD, codeOf, type KeyState } from '@raftseal/interface';
import type { RaftPayloadWrap, ShardGroupState } from '@raftseal/shard-group';

/** What the coordinator needs of a shard group. */
export interface CutoverGroup {
  readonly shardId: number;
  readonly state: ShardGroupState;
  readonly wrap: RaftPayloadWrap;
  cutOver(marker: Uint8Array): Promise<void>;
}

export interface CutoverCoordinatorParts {
  readonly groups: readonly CutoverGroup[];
  /** The key state as this node has applied it. */
  readonly keyState: () => KeyState;
  /** Told of a marker that could not be led; the next change of state tries again. */
  readonly onFailure: (shardId: number, error: unknown) => void;
}

/** Pause before a shard whose marker failed is tried again without any change of state. */
const RETRY_DELAY_MS = 250;

export class CutoverCoordinator {
  readonly #parts: CutoverCoordinatorParts;
  readonly #running = new Set<number>();
  readonly #retries = new Set<NodeJS.Timeout>();
  #stopped = false;

  constructor(parts: CutoverCoordinatorParts) {
    this.#parts = parts;
  }

  /** Called after every change of the key state and of a group's state. */
  consider(): void {
    const { cutoverIntent, cutoverIndex } = this.#parts.keyState();
    if (this.#stopped || !cutoverIntent) return;
    const due = dueShards(cutoverIntent.waves, cutoverIndex);
    for (const group of this.#parts.groups) {
      if (group.state !== 'leading' || group.wrap.kind === 'sealed') continue;
      if (due.has(group.shardId) && !this.#running.has(group.shardId)) void this.#cutOver(group);
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#retries) clearTimeout(timer);
  }

  async #cutOver(group: CutoverGroup): Promise<void> {
    this.#running.add(group.shardId);
    try {
      await group.cutOver(this.#marker());
    } catch (error) {
      this.#parts.onFailure(group.shardId, error);
      const lost = codeOf(error) === 'RAFTSEAL_SHARD_GROUP_NOT_LEADER';
      if (!lost && !this.#stopped) await this.#pause();
    } finally {
      this.#running.delete(group.shardId);
    }
    // A marker overtaken by a rotation is a no-op, and the shards of the next wave may be due.
    this.consider();
  }

  /** Names the raft DEK that is active here, and how far the control shard was when it was. */
  #marker(): Uint8Array {
    const { activeDekId, appliedIndex } = this.#parts.keyState();
    const controlIndex = appliedIndex.get(CONTROL_SHARD) ?? 0n;
    return encodeEntry({ kind: 'enable-raft', dekId: activeDekId.raft, controlIndex });
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#retries.delete(timer);
        resolve();
      }, RETRY_DELAY_MS);
      this.#retries.add(timer);
    });
  }
}

/** The shards of the first wave that is not complete. */
export function dueShards(
  waves: readonly (readonly number[])[],
  cutoverIndex: ReadonlyMap<number, bigint>,
): ReadonlySet<number> {
  for (const wave of waves) {
    const open = wave.filter((shardId) => !cutoverIndex.has(shardId));
    if (open.length > 0) return new Set(open);
  }
  return new Set();
}
