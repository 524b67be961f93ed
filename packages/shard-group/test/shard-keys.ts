/**
 * The key lifecycle of one shard of a test, over the real envelope package: a marker cuts the shard
 * over, a rotation brings a new DEK. The bodies are plain text: `marker`, `stale marker`,
 * `rotate <dekId>`, `note <anything>`.
 */
import { createHash } from 'node:crypto';
import { decodeEnvelope, Keyring, NonceSequence, RaftSeal } from '@raftseal/envelope';
import { cleartext, type KeyLifecycle, type RaftPayloadWrap, sealed } from '../src/index.ts';

export const FIRST_DEK_ID = 7;

const clusterId: Uint8Array = new Uint8Array(16).fill(0xc1);

/** What survives the process: the cutover, the keys, and how many processes have sealed. */
export class KeysDisk {
  cutoverIndex: bigint | undefined;
  dekIds: readonly number[] = [FIRST_DEK_ID];
  nonceEpoch = 0;
}

export interface ShardKeysParts {
  readonly shardId: number;
  readonly writerId: number;
  readonly disk?: KeysDisk;
  /** Where the wrap goes; the shard group's `setRaftPayloadWrap`. */
  readonly install: (wrap: RaftPayloadWrap) => void;
  /** Told of each nonce, as it is drawn. */
  readonly onNonce?: (nonce: string) => void;
}

export class ShardKeys implements KeyLifecycle {
  readonly applied: { index: bigint; body: string }[] = [];
  readonly keyring: Keyring = new Keyring();
  seals = 0;
  /** Apply waits for it: the moment between an entry's commit and its effects. */
  hold: Promise<void> | undefined;
  /** The process is gone: nothing reaches the disk any more. */
  ended = false;
  awaitsKek = false;
  /** If set, no seal is possible. */
  sealError: Error | undefined;
  readonly #parts: ShardKeysParts;
  readonly #disk: KeysDisk;
  readonly #seal: RaftSeal = new RaftSeal({ clusterId, keyring: this.keyring });
  readonly #nonces = new Map<number, NonceSequence>();

  constructor(parts: ShardKeysParts) {
    this.#parts = parts;
    this.#disk = parts.disk ?? new KeysDisk();
    this.#disk.nonceEpoch += 1;
    for (const dekId of this.#disk.dekIds) this.load(dekId);
  }

  /** The wrap as the disk has it: what a process starts with. */
  get wrap(): RaftPayloadWrap {
    const { cutoverIndex, dekIds } = this.#disk;
    const dekId = dekIds.at(-1) ?? FIRST_DEK_ID;
    return cutoverIndex === undefined ? cleartext : this.sealedAbove(cutoverIndex, dekId);
  }

  load(dekId: number): void {
    this.keyring.add(dekId, 'raft', createHash('sha256').update(`DEK ${dekId}`).digest());
  }

  async apply(entry: { index: bigint; body: Uint8Array }): Promise<void> {
    const body = Buffer.from(entry.body).toString();
    await this.hold;
    await new Promise((resolve) => setImmediate(resolve));
    if (this.ended) await new Promise(() => undefined);
    if (body === 'bad') throw new Error('no entry of a key lifecycle');
    this.applied.push({ index: entry.index, body });
    if (body === 'marker') this.#disk.cutoverIndex ??= entry.index;
    if (body.startsWith('rotate ')) this.#rotate(Number(body.slice('rotate '.length)));
    if (this.#disk.cutoverIndex !== undefined) this.#parts.install(this.wrap);
  }

  sealedAbove(cutoverIndex: bigint, dekId: number): RaftPayloadWrap {
    const { shardId } = this.#parts;
    return sealed({
      cutoverIndex,
      dekId,
      seal: (body, index, headroomBytes) => {
        if (this.sealError) throw this.sealError;
        const nonces = this.#noncesOf(dekId);
        const place = { dekId, shardId, index, nonces };
        const payload = this.#seal.seal(place, body, headroomBytes);
        this.seals += 1;
        const { nonce } = decodeEnvelope(payload.subarray(headroomBytes));
        this.#parts.onNonce?.(`${dekId} ${Buffer.from(nonce).toString('hex')}`);
        return payload;
      },
      open: (envelope, index) => this.#seal.open({ shardId, index }, envelope),
    });
  }

  #rotate(dekId: number): void {
    this.load(dekId);
    if (!this.#disk.dekIds.includes(dekId)) this.#disk.dekIds = [...this.#disk.dekIds, dekId];
  }

  /** One sequence per DEK and process. */
  #noncesOf(dekId: number): NonceSequence {
    const { writerId } = this.#parts;
    const known = this.#nonces.get(dekId);
    const sequence = known ?? new NonceSequence({ writerId, nonceEpoch: this.#disk.nonceEpoch });
    this.#nonces.set(dekId, sequence);
    return sequence;
  }
}
