/**
 * Puts the state of a snapshot in the place of a shard's own: built beside it, then swapped for it
 * under the same objects, in one turn. Whatever fails before the file is replaced leaves the old
 * state as it was, and in use.
 */
import { assert, codeOf, RaftsealError } from '@raftseal/interface';
import type { Checkpointer } from './checkpointer.ts';
import type { Keyspace } from './keyspace.ts';
import type { LmdbStore } from './lmdb-store.ts';
import type { SnapshotExpectation } from './options.ts';
import { sealingOf } from './sealing.ts';
import { snapshotInvalid } from './snapshot-format.ts';
import { SnapshotReceiver } from './snapshot-install.ts';
import { SnapshotReader } from './snapshot-reader.ts';
import type { StoreEnvironment, StoreReplacement } from './store-environment.ts';
import type { StoreMeta } from './store-meta.ts';

export interface InstallerParts {
  readonly shardId: number;
  readonly environment: StoreEnvironment;
  readonly cleartext: LmdbStore;
  readonly keyspace: Keyspace;
  readonly checkpointer: Checkpointer;
  /** Told of a failure that ends the shard. */
  readonly onFatal: (error: unknown) => void;
}

export class Installer {
  readonly #parts: InstallerParts;
  #reader: SnapshotReader | undefined;
  #running: Promise<unknown> | undefined;
  #installs = 0;

  constructor(parts: InstallerParts) {
    this.#parts = parts;
  }

  get isInstalling(): boolean {
    return this.#running !== undefined;
  }

  /** How many snapshots were installed. */
  get installs(): number {
    return this.#installs;
  }

  /** As `KvStateMachine.install`. */
  async install(
    chunks: AsyncIterable<Uint8Array>,
    expected: SnapshotExpectation,
  ): Promise<StoreMeta> {
    assert(this.#running === undefined, 'one snapshot is installed at a time');
    this.#reader = new SnapshotReader(chunks);
    const running = this.#install(this.#reader, expected);
    this.#running = running.catch(() => undefined);
    try {
      return await running;
    } finally {
      this.#reader = undefined;
      this.#running = undefined;
    }
  }

  /** Ends what waits for chunks, and waits for what is past them. */
  async stop(reason: Error): Promise<void> {
    this.#reader?.interrupt(reason);
    await this.#running;
  }

  async #install(reader: SnapshotReader, expected: SnapshotExpectation): Promise<StoreMeta> {
    const { environment, checkpointer } = this.#parts;
    let replacement: StoreReplacement | undefined;
    const open = async (): Promise<StoreReplacement> => {
      replacement = await environment.startReplacement();
      return replacement;
    };
    try {
      this.#checkForwards(expected.index);
      const { sealedOnly } = checkpointer;
      const { connection, meta } = await this.#receive(reader, open, expected);
      await checkpointer.alone(() => this.#takePlace(connection, meta, sealedOnly));
      return meta;
    } finally {
      reader.abandon();
      if (replacement !== undefined) await environment.discard(replacement);
    }
  }

  async #receive(
    reader: SnapshotReader,
    open: () => Promise<StoreReplacement>,
    expected: SnapshotExpectation,
  ): ReturnType<SnapshotReceiver['receive']> {
    const { shardId, checkpointer } = this.#parts;
    const { seal, sealedOnly } = checkpointer;
    const parts = { reader, open, shardId, seal, sealedOnly, expected };
    try {
      return await new SnapshotReceiver(parts).receive();
    } catch (error) {
      if (codeOf(error) !== 'RAFTSEAL_KV_COMMIT_FAILED') throw error;
      // What could not be written is not the shard's: it goes on with what it has.
      throw new RaftsealError(
        'RAFTSEAL_KV_COMMIT_FAILED',
        'a snapshot was expected to be written beside the store, and was not; nothing was changed: ' +
          'check the disk and its free space',
        { cause: error },
      );
    }
  }

  async #takePlace(
    replacement: StoreReplacement,
    meta: StoreMeta,
    wasSealedOnly: boolean,
  ): Promise<void> {
    const { shardId, environment, cleartext, keyspace, checkpointer, onFatal } = this.#parts;
    // A checkpoint may have come further meanwhile.
    this.#checkForwards(meta.appliedIndex);
    if (checkpointer.sealedOnly !== wasSealedOnly) {
      throw snapshotInvalid('nothing but sealed rows is read since it was begun');
    }
    let switchOver: () => void;
    try {
      switchOver = await environment.replace(replacement);
    } catch (error) {
      if (error instanceof RaftsealError && error.fatal) {
        checkpointer.fail(error);
        onFatal(error);
      }
      throw error;
    }
    switchOver();
    const sealing = sealingOf({ source: environment, cleartext, shardId }, checkpointer.seal);
    keyspace.restart(sealing.store);
    checkpointer.restart(meta, sealing);
    this.#installs++;
  }

  #checkForwards(index: bigint): void {
    const { durableIndex } = this.#parts.checkpointer;
    if (index > durableIndex) return;
    throw new RaftsealError(
      'RAFTSEAL_KV_SNAPSHOT_STALE',
      `a snapshot was expected to be of an index above ${durableIndex}, which is durable here, and ` +
        `is of ${index}: there is nothing to install`,
    );
  }
}
