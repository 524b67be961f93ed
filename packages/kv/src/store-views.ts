/**
 * What is read from views of the store while the shard goes on: snapshots, digests and the census
 * of DEKs. A view is of one commit, and is taken while none is under way.
 */
import { RaftsealError, type RowSeal } from '@raftseal/interface';
import type { Checkpointer } from './checkpointer.ts';
import type { ContentDigest } from './content-digest.ts';
import type { Installer } from './installer.ts';
import type { KvCensus, KvDigest, KvSnapshot, OpenSnapshot } from './options.ts';
import { rowCensusOf } from './row-census.ts';
import { StoreSnapshot } from './snapshot.ts';
import { contentDigestOf, digestOf } from './state-digest.ts';
import type { StoreEnvironment, StoreView } from './store-environment.ts';

export interface StoreViewsParts {
  readonly shardId: number;
  readonly environment: StoreEnvironment;
  readonly checkpointer: Checkpointer;
  readonly installer: Installer;
}

export class StoreViews {
  readonly #parts: StoreViewsParts;
  readonly #snapshots = new Map<KvSnapshot, OpenSnapshot>();

  constructor(parts: StoreViewsParts) {
    this.#parts = parts;
  }

  /** As `KvStateMachine.snapshot`. */
  async snapshot(): Promise<KvSnapshot> {
    const { shardId, checkpointer } = this.#parts;
    this.#checkReleased();
    await checkpointer.commitOnce();
    return this.#alone((view) => {
      const { durableIndex: index, durableTimestampMs: timestampMs, seal } = checkpointer;
      const onReleased = (released: KvSnapshot): void => void this.#snapshots.delete(released);
      const snapshot = new StoreSnapshot({ view, shardId, seal, index, timestampMs, onReleased });
      this.#snapshots.set(snapshot, { index, onlyDekId: checkpointer.onlyDekId ?? null });
      return snapshot;
    });
  }

  /** As `KvStateMachine.digest`. */
  async digest(): Promise<KvDigest> {
    const { shardId, checkpointer } = this.#parts;
    this.#checkReleased();
    await checkpointer.flush();
    return this.#read(async (view, { index, seal }) => ({
      index,
      digest: await digestOf({ source: view, shardId, seal }),
    }));
  }

  /** As `KvStateMachine.contentDigest`. */
  async contentDigest(nowMs: number): Promise<ContentDigest> {
    const { shardId, checkpointer } = this.#parts;
    this.#checkReleased();
    await checkpointer.flush();
    return this.#read((view, { seal }) => contentDigestOf({ source: view, shardId, seal }, nowMs));
  }

  /** As `KvStateMachine.census`. */
  async census(signal?: AbortSignal): Promise<KvCensus> {
    const { installer } = this.#parts;
    signal?.throwIfAborted();
    this.#checkReleased();
    return this.#read(async (view, { index, seal, activeDekId }) => {
      const { installs } = installer;
      const rows = await rowCensusOf(view, seal, signal);
      // What follows is as of the end: a snapshot may have come, or been asked for, meanwhile.
      const installing = installer.isInstalling || installer.installs > installs;
      const openSnapshots = [...this.#snapshots.values()];
      return { index, activeDekId, ...rows, openSnapshots, installing, installs };
    });
  }

  async #read<Result>(
    read: (
      view: StoreView,
      at: {
        readonly index: bigint;
        readonly seal: RowSeal | 'cleartext';
        readonly activeDekId: number | null;
      },
    ) => Promise<Result>,
  ): Promise<Result> {
    const { checkpointer } = this.#parts;
    const { view, at } = await this.#alone((opened) => {
      const { durableIndex: index, seal } = checkpointer;
      const activeDekId = seal === 'cleartext' ? null : (seal.activeDekId ?? null);
      return { view: opened, at: { index, seal, activeDekId } };
    });
    try {
      return await read(view, at);
    } finally {
      view.release();
    }
  }

  /** What a view of the store says while nobody writes to it. */
  #alone<Result>(read: (view: StoreView) => Result): Promise<Result> {
    const { checkpointer, environment } = this.#parts;
    return checkpointer.alone(async () => read(environment.openView()));
  }

  #checkReleased(): void {
    if (!this.#parts.checkpointer.held) return;
    throw new RaftsealError(
      'RAFTSEAL_KV_CHECKPOINTS_HELD',
      'checkpoints were expected to have been started, and are held back: wait until the node has started',
    );
  }
}
