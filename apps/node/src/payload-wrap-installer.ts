/**
 * The installer: makes this node's wrap active on a shard group. The applier calls it on every
 * replica as a marker or a rotation is applied, and at start-up for every shard that is cut over,
 * so that a follower that becomes leader seals already.
 */
import type { Install } from '@raftseal/applier';
import type { RaftSeal } from '@raftseal/envelope';
import { cleartext, KIND_KEY_LIFECYCLE, type RaftPayloadWrap, sealed } from '@raftseal/shard-group';
import type { SealAuthority } from './seal-authority.ts';

/** What the installer needs of a shard group. */
export interface WrapSlot {
  readonly shardId: number;
  setRaftPayloadWrap(wrap: RaftPayloadWrap): void;
}

export interface PayloadWrapInstallerParts {
  readonly authority: () => SealAuthority;
  /** Bound to the cluster; there is one as soon as there is a key. */
  readonly raftSeal: () => RaftSeal;
}

export class PayloadWrapInstaller {
  readonly #parts: PayloadWrapInstallerParts;
  readonly #wraps = new Map<number, RaftPayloadWrap>();
  readonly #slots = new Map<number, WrapSlot>();

  constructor(parts: PayloadWrapInstallerParts) {
    this.#parts = parts;
  }

  /** The wrap that a shard's group starts with. */
  wrapOf(shardId: number): RaftPayloadWrap {
    return this.#wraps.get(shardId) ?? cleartext;
  }

  /** Gives a group its wrap now, and every later one. */
  attach(slot: WrapSlot): void {
    this.#slots.set(slot.shardId, slot);
    slot.setRaftPayloadWrap(this.wrapOf(slot.shardId));
  }

  install({ shardId, cutoverIndex, dekId }: Install): void {
    const authority = this.#parts.authority();
    const raftSeal = this.#parts.raftSeal();
    const wrap = sealed({
      cutoverIndex,
      dekId,
      seal: (body, index, headroomBytes) => {
        const nonces = authority.nonces(dekId, body);
        // The rotation that a used-up key needs is sealed under that very key.
        const fromReserve = body[0] === KIND_KEY_LIFECYCLE;
        return raftSeal.seal({ dekId, shardId, index, nonces, fromReserve }, body, headroomBytes);
      },
      open: (envelope, index) => raftSeal.open({ shardId, index }, envelope),
    });
    this.#wraps.set(shardId, wrap);
    this.#slots.get(shardId)?.setRaftPayloadWrap(wrap);
  }
}
