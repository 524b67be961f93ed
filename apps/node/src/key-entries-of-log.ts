/**
 * What the log of a node that is alone says of its keys. Every entry that its files still have is
 * read, truncated ones too: from an older key state that is authentic, each key entry of the control
 * shard leads to the next state, as when it was applied first.
 *
 * A nonce epoch is registered in the log before anything is sealed in it, but for the registration
 * itself, whose counter is random. So the state that comes of it has every epoch that was used.
 */
import {
  decodeEntry,
  type Effect,
  MemoryWriterRegistry,
  type ReplicatedKeyState,
  replicatedKeyState,
  transition,
} from '@raftseal/applier';
import { Keyring, RaftSeal } from '@raftseal/envelope';
import {
  assert,
  CONTROL_SHARD,
  type KeyRecord,
  type KeyState,
  RaftsealError,
  type WriterRow,
} from '@raftseal/interface';
import { KIND_KEY_LIFECYCLE, TAG_BYTES, TAG_SEALED } from '@raftseal/shard-group';
import type { DataDirectory } from './data-directory.ts';
import type { KekSet } from './kek-set.ts';
import { embeddedFindings } from './node-logs.ts';

export interface KeyEntriesParts {
  readonly directory: Pick<DataDirectory, 'logPath' | 'shardCount'>;
  readonly keks: KekSet;
  /** Authenticated. */
  readonly before: KeyState;
  /** Of the registry beside it. */
  readonly rows: readonly WriterRow[];
}

/**
 * The key state at the end of the log. Nothing is written.
 * @throws RAFTSEAL_NODE_SIDECAR_BEHIND_LOG where the log does not have all that came after `before`;
 *   RAFTSEAL_ENVELOPE_*, RAFTSEAL_APPLIER_* for an entry that cannot be; RAFTSEAL_KEK_*
 */
export async function keyStateOfLog(parts: KeyEntriesParts): Promise<ReplicatedKeyState> {
  const { directory, before } = parts;
  for (let shardId = 0; shardId < directory.shardCount; shardId++) {
    if (before.cutoverIndex.has(shardId)) continue;
    throw notInLog(`the sidecar is from before the cutover of shard ${shardId}`);
  }
  const replay = new KeyReplay(parts);
  await replay.load(before.keys);
  for await (const finding of embeddedFindings(directory.logPath)) {
    if (finding.kind !== 'entry' || finding.entry.shardId !== CONTROL_SHARD) continue;
    await replay.add(finding.entry.index, finding.entry.payload);
  }
  return replay.result();
}

class KeyReplay {
  readonly #keks: KekSet;
  readonly #keyring = new Keyring();
  readonly #registry: MemoryWriterRegistry;
  readonly #clusterId: Uint8Array;
  readonly #seal: RaftSeal;
  /** Entries that were found before the ones that they follow on. */
  readonly #early = new Map<bigint, Uint8Array>();
  #state: KeyState;
  #next: bigint;

  constructor({ keks, before, rows }: KeyEntriesParts) {
    assert(before.clusterId, 'a sidecar is one of a cluster');
    this.#keks = keks;
    this.#registry = new MemoryWriterRegistry(rows);
    this.#clusterId = before.clusterId;
    this.#seal = new RaftSeal({ clusterId: before.clusterId, keyring: this.#keyring });
    this.#state = before;
    this.#next = (before.appliedIndex.get(CONTROL_SHARD) ?? 0n) + 1n;
  }

  /** In any order, and as often as it stands there. */
  async add(index: bigint, payload: Uint8Array): Promise<void> {
    if (index < this.#next) return;
    this.#early.set(index, payload);
    for (;;) {
      const found = this.#early.get(this.#next);
      if (found === undefined) return;
      this.#early.delete(this.#next);
      await this.#apply(this.#next, found);
      this.#next++;
    }
  }

  result(): ReplicatedKeyState {
    if (this.#early.size > 0) {
      throw notInLog(`the log has no entry ${this.#next} of shard ${CONTROL_SHARD} any more`);
    }
    const replicated = replicatedKeyState(this.#state, this.#registry.rows());
    assert(replicated, 'a state with a cluster has a replicated part');
    return replicated;
  }

  async load(keys: ReadonlyMap<number, KeyRecord>): Promise<void> {
    for (const [dekId, key] of keys) {
      const { purpose } = key;
      const binding = { clusterId: this.#clusterId, dekId, purpose };
      const dek = await this.#keks.unwrap(key, binding);
      this.#keyring.add(dekId, purpose, dek);
      dek.fill(0);
    }
  }

  /** Above the cutover of the control shard, which the state that it began with has. */
  async #apply(index: bigint, payload: Uint8Array): Promise<void> {
    if (payload[0] !== TAG_SEALED) throw notInLog(`entry ${index} of the log is in the clear`);
    const place = { shardId: CONTROL_SHARD, index };
    const body = this.#seal.open(place, payload.subarray(TAG_BYTES));
    if (body[0] !== KIND_KEY_LIFECYCLE) return;
    const context = { ...place, registry: this.#registry };
    const { state, effects } = transition(this.#state, context, decodeEntry(body.subarray(1)));
    for (const effect of effects) await this.#perform(effect);
    this.#state = state;
  }

  async #perform(effect: Effect): Promise<void> {
    if (effect.kind === 'load-deks') await this.load(effect.keys);
    else if (effect.kind === 'writer-rows') await this.#registry.put(effect.rows);
    else if (effect.kind === 'unload-deks') await this.#registry.forget(effect.dekIds);
  }
}

function notInLog(found: string): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG',
    `${found}, so what became of the keys since is not known here: put back a later copy of ` +
      '`keys/` and try again, or restore a backup with `raftseal backup restore`; nothing was changed',
  );
}
