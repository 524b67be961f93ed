/**
 * One process of a node, with everything of a real one that concerns nonces: sidecar file, writer
 * registry, key lifecycle, seal authority, keyring and seals. Log and leadership are the world's.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { openReplicatedKeyState } from '@raftseal/applier';
import { CONTROL_SHARD, RaftsealError } from '@raftseal/interface';
import {
  evidenceOf,
  type KekSet,
  KeyOperations,
  NodeKeys,
  type NonceEvidence,
  Teardown,
} from '@raftseal/server/nonces';
import {
  KIND_DATA,
  KIND_KEY_LIFECYCLE,
  TAG_BYTES,
  TAG_CLEARTEXT,
  TAG_SEALED,
} from '@raftseal/shard-group';
import { type NoncePlant, plantIn } from './plants.ts';
import type { SharedLog } from './shared-log.ts';

export interface SealingProcessOptions {
  readonly nodeId: string;
  /** Of its keys: sidecar and registry. */
  readonly directory: string;
  readonly log: SharedLog;
  readonly keks: KekSet;
  readonly otherNodes: readonly string[];
  readonly plant: NoncePlant | undefined;
  /** Told of everything that was sealed, whatever becomes of it. */
  readonly onSealed: (kind: 'log' | 'store', envelope: Buffer) => void;
}

const DATA_SHARD = 1;
const ROW_KEY_BYTES = 32;
const ROW_HEADER_BYTES = 9;
const BODY_BYTES = 32;

export class SealingProcess {
  readonly nodeId: string;
  readonly directory: string;
  readonly operations: KeyOperations;
  /** The latest term that it was elected for; it may have been deposed since. */
  term: number | undefined;
  /** Cut off from the log: it learns of nothing, and goes on with what it has. */
  isDeaf = false;
  readonly #options: SealingProcessOptions;
  readonly #keys: NodeKeys;
  readonly #teardown: Teardown;
  /** Of this process alone: the same seal made twice would pass for a copy. */
  readonly #body: Buffer = randomBytes(BODY_BYTES);
  readonly #rowKey: Buffer = Buffer.alloc(ROW_KEY_BYTES);
  readonly #header: Buffer = Buffer.alloc(ROW_HEADER_BYTES);
  #appliedIndex = 0n;
  #sealed = 0;

  /** @throws a coded error where the start is refused */
  static async start(options: SealingProcessOptions): Promise<SealingProcess> {
    const { nodeId, directory, keks, log, plant } = options;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const teardown = new Teardown();
    try {
      const keys = await NodeKeys.open({ nodeId, directory, encryption: 'on', keks }, teardown);
      plantIn(keys, plant);
      keys.lifecycle.noteControlHead(log.headIndex);
      return new SealingProcess(options, keys, teardown);
    } catch (error) {
      await teardown.run();
      throw error;
    }
  }

  private constructor(options: SealingProcessOptions, keys: NodeKeys, teardown: Teardown) {
    this.#options = options;
    this.#keys = keys;
    this.#teardown = teardown;
    this.nodeId = options.nodeId;
    this.directory = options.directory;
    // The rows of a store are not needed to go on from here, so neither are the entries before.
    this.#appliedIndex = keys.state.appliedIndex.get(CONTROL_SHARD) ?? 0n;
    this.operations = new KeyOperations({
      nodeId: options.nodeId,
      keks: options.keks,
      keyLifecycle: keys.lifecycle,
      registry: keys.registry,
      controlGroup: {
        proposeKeyLifecycle: (body) => this.#propose(body),
        cutOver: async (marker) => void (await this.#propose(marker)),
      },
      otherMembers: () => options.otherNodes,
      shardIds: [CONTROL_SHARD],
      clock: Date.now,
    });
  }

  /** Whether it may seal under the active key of a purpose. */
  maySeal(purpose: 'raft' | 'storage'): boolean {
    const { lifecycle, state } = this.#keys;
    const dekId = state.activeDekId[purpose];
    return dekId !== 0 && lifecycle.isRegistered(dekId);
  }

  /** Seals entries of a data shard, which nobody appends; or rows. @returns how many */
  seal(purpose: 'raft' | 'storage', count: number): number {
    if (purpose === 'storage') return this.#sealRows(count);
    const { state, raftSeal, authority } = this.#keys;
    const { onSealed } = this.#options;
    const dekId = state.activeDekId.raft;
    const body = this.#body;
    body[0] = KIND_DATA;
    for (let left = count; left > 0; left--) {
      body.writeUInt32BE(this.#sealed++, 1);
      const place = { shardId: DATA_SHARD, index: BigInt(this.#sealed) };
      const nonces = authority.nonces(dekId, body);
      onSealed('log', bufferOf(raftSeal.seal({ dekId, nonces, ...place }, body)));
    }
    return count;
  }

  /** Applies what the log has and this process has not; nothing while it is deaf. */
  async follow(): Promise<void> {
    const { log } = this.#options;
    while (!this.isDeaf && this.#appliedIndex < log.headIndex) {
      const index = this.#appliedIndex + 1n;
      const payload = log.entry(index);
      if (payload === undefined) throw new Error(`the log has an entry ${index}`);
      const stored = payload.subarray(TAG_BYTES);
      const { lifecycle } = this.#keys;
      const isSealed = payload[0] === TAG_SEALED;
      if (isSealed) await lifecycle.waitForDek(stored.readUInt32BE(2), 1_000);
      const place = { shardId: CONTROL_SHARD, index };
      const body = isSealed ? this.#keys.raftSeal.open(place, stored) : stored;
      if (body[0] === KIND_KEY_LIFECYCLE)
        await lifecycle.apply({ ...place, body: body.subarray(1) });
      this.#appliedIndex = index;
    }
    if (this.#keys.state.clusterId !== undefined) this.#keys.refreshRowSeal();
  }

  /** Takes over what another process has applied, as with a snapshot, instead of the entries. */
  async adoptFrom(other: SealingProcess): Promise<void> {
    const bytes = await other.#keys.lifecycle.exportKeyState();
    if (bytes === undefined || this.isDeaf) return;
    const keyState = await openReplicatedKeyState(bytes, this.#options.keks.unwrap);
    await this.#keys.lifecycle.adopt(keyState);
    const applied = this.#keys.state.appliedIndex.get(CONTROL_SHARD) ?? 0n;
    if (applied > this.#appliedIndex) this.#appliedIndex = applied;
  }

  /** Claims an epoch under each active key, and tells nobody yet. */
  async claim(): Promise<void> {
    const { lifecycle, state } = this.#keys;
    const { raft, storage } = state.activeDekId;
    for (const dekId of [raft, storage]) await lifecycle.claimNonceEpoch(dekId);
  }

  /** Claims an epoch under each active key, and has the leader record it. */
  async register(leader: SealingProcess): Promise<void> {
    if (this.#keys.state.clusterId === undefined) return;
    if (leader === this) {
      await this.operations.registerWriter();
      return;
    }
    for (const purpose of ['raft', 'storage'] as const) {
      const { lifecycle, state } = this.#keys;
      const dekId = state.activeDekId[purpose];
      if (dekId === 0 || lifecycle.isRegistered(dekId)) continue;
      const { nonceEpoch: epoch, claimId } = await lifecycle.claimNonceEpoch(dekId);
      if (lifecycle.isRegistered(dekId)) continue;
      const { nodeId } = this;
      await leader.operations.recordRegistration({ nodeId, dekId, epoch, claimId });
      await this.follow();
    }
  }

  /** What it knows of who may have sealed what. */
  evidence(): NonceEvidence {
    const { state, registry, lifecycle, authority } = this.#keys;
    const drawn = [...state.keys.keys()].flatMap((dekId) => {
      const claim = lifecycle.claimOf(dekId);
      const counter = Number(authority.seals(dekId));
      return claim ? [{ dekId, nonceEpoch: claim.nonceEpoch, counter }] : [];
    });
    const own = evidenceOf(state, registry.rows());
    return { ...own, logPlace: 'etcd', isAuthenticated: true, drawn };
  }

  /** Ends the process: nothing of it runs on. What was not durable is gone. */
  end(): Promise<void> {
    return this.#teardown.run();
  }

  #sealRows(count: number): number {
    const { rowSeal } = this.#keys;
    if (rowSeal.activeDekId === undefined) return 0;
    for (let left = count; left > 0; left--) {
      this.#body.writeUInt32BE(this.#sealed++, 1);
      this.#rowKey.writeUInt32BE(this.#sealed);
      const envelope = rowSeal.seal(DATA_SHARD, this.#rowKey, this.#header, this.#body);
      this.#options.onSealed('store', bufferOf(envelope));
    }
    return count;
  }

  /** As a shard group does: sealed at the index that it expects, appended, applied. */
  async #propose(entry: Uint8Array): Promise<bigint> {
    const { log, onSealed } = this.#options;
    if (this.term === undefined) throw notDone('this process was never elected');
    await this.follow();
    const index = this.#appliedIndex + 1n;
    const body = Buffer.concat([Buffer.of(KIND_KEY_LIFECYCLE), entry]);
    const { state, authority } = this.#keys;
    const cutoverIndex = state.cutoverIndex.get(CONTROL_SHARD);
    let payload = Buffer.concat([Buffer.of(TAG_CLEARTEXT), body]);
    if (cutoverIndex !== undefined && index > cutoverIndex) {
      const dekId = state.activeDekId.raft;
      const nonces = authority.nonces(dekId, body);
      const under = { dekId, nonces, shardId: CONTROL_SHARD, index };
      const envelope = bufferOf(this.#keys.raftSeal.seal(under, body));
      onSealed('log', envelope);
      payload = Buffer.concat([Buffer.of(TAG_SEALED), envelope]);
    }
    const outcome = log.append({ term: this.term, index, payload });
    if (outcome === 'fenced') this.term = undefined;
    if (outcome !== 'done') throw notDone(`the append was ${outcome}`);
    await this.follow();
    return index;
  }
}

function notDone(found: string): RaftsealError {
  return new RaftsealError('RAFTSEAL_SHARD_GROUP_NOT_LEADER', `nothing was proposed: ${found}`);
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
