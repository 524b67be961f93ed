/**
 * The `RowSeal` port that a store seals its rows through: row keys by PRF, contents in storage
 * envelopes under the active storage DEK. Opening needs no active DEK: each envelope names its own.
 */

import { RaftsealError, type RowSeal } from '@raftseal/interface';
import type { Bytes } from '#crypto';
import { ClusterKeys } from './cluster-keys.ts';
import type { SealingKey } from './envelope-cipher.ts';
import { checkHeader } from './header.ts';
import type { Keyring } from './keyring.ts';
import { RowKeyPrf } from './row-key-prf.ts';
import { STORAGE_VERSION, StorageSeal } from './storage-seal.ts';

export type StoreRowSealOptions = {
  /** 16 bytes, copied. */
  readonly clusterId: Uint8Array;
  readonly keyring: Keyring;
  /** Whether a DEK is nearly used up. Default: none is. */
  readonly isUsedUp?: (dekId: number) => boolean;
} & (
  | {
      /** A loaded DEK of purpose `index`, the first one of the cluster. */
      readonly indexDekId: number;
    }
  | {
      /** What the rows are named with, whichever index DEK brought it. */
      readonly clusterKeys: ClusterKeys;
    }
);

export class StoreRowSeal implements RowSeal {
  readonly #keyring: Keyring;
  readonly #isUsedUp: (dekId: number) => boolean;
  readonly #prf: RowKeyPrf;
  readonly #storage: StorageSeal;
  #active: SealingKey | undefined;

  /** @throws RAFTSEAL_ENVELOPE_UNKNOWN_DEK, RAFTSEAL_ENVELOPE_WRONG_PURPOSE; RangeError */
  constructor(options: StoreRowSealOptions) {
    const { clusterId, keyring, isUsedUp = () => false } = options;
    this.#keyring = keyring;
    this.#isUsedUp = isUsedUp;
    this.#prf = new RowKeyPrf(
      'clusterKeys' in options
        ? options.clusterKeys
        : ClusterKeys.derivedFrom(keyring, options.indexDekId),
    );
    this.#storage = new StorageSeal({ clusterId, keyring });
  }

  /** The DEK that {@link seal} uses; undefined before the first {@link setActive}. */
  get activeDekId(): number | undefined {
    return this.#active?.dekId;
  }

  /**
   * Sets the DEK that rows are sealed under from the next `seal` on.
   * @throws RAFTSEAL_ENVELOPE_UNKNOWN_DEK, RAFTSEAL_ENVELOPE_WRONG_PURPOSE,
   *   RAFTSEAL_ENVELOPE_RESERVED_DEK_ID, RAFTSEAL_ENVELOPE_NONCE_SEQUENCE_CONFLICT; then the
   *   earlier DEK stays active
   */
  setActive({ dekId, nonces }: SealingKey): void {
    this.#keyring.sealingKey(dekId, 'storage', nonces);
    this.#active = { dekId, nonces };
  }

  get isUsedUp(): boolean {
    return this.#active !== undefined && this.#isUsedUp(this.#active.dekId);
  }

  rowKey(shardId: number, key: Uint8Array): Bytes {
    return this.#prf.rowKey(shardId, key);
  }

  /** @throws as `StorageSeal.seal`; RAFTSEAL_ENVELOPE_NO_ACTIVE_DEK */
  seal(shardId: number, rowKey: Uint8Array, header: Uint8Array, plaintext: Uint8Array): Bytes {
    if (this.#active === undefined) {
      throw new RaftsealError(
        'RAFTSEAL_ENVELOPE_NO_ACTIVE_DEK',
        'expected an active storage DEK to seal a row under, found none: rows can be sealed once ' +
          'the key state names one and this node has claimed a nonce epoch under it',
      );
    }
    const { dekId, nonces } = this.#active;
    // What has begun has to end; `isUsedUp` is for who begins.
    const under = { dekId, nonces, fromReserve: true };
    return this.#storage.seal({ ...under, shardId, rowKey, header }, plaintext);
  }

  /** @throws as `StorageSeal.open` */
  open(shardId: number, rowKey: Uint8Array, header: Uint8Array, envelope: Uint8Array): Bytes {
    return this.#storage.open({ shardId, rowKey, header }, envelope);
  }

  /**
   * The DEK that an envelope names; it need not be loaded.
   * @throws RAFTSEAL_ENVELOPE_TOO_SHORT, RAFTSEAL_ENVELOPE_VERSION, RAFTSEAL_ENVELOPE_FLAG,
   *   RAFTSEAL_ENVELOPE_RESERVED_DEK_ID
   */
  dekIdOf(envelope: Uint8Array): number {
    return checkHeader(envelope, STORAGE_VERSION);
  }
}
