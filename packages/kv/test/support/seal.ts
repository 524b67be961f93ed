/** The row seal that a node uses, under keys of the test. */
import { Keyring, NonceSequence, StoreRowSeal } from '@raftseal/envelope';

const INDEX_DEK = 11;
export const STORAGE_DEK = 12;
/** What the storage DEK is rotated to. */
export const NEXT_DEK = 13;
export const LAST_DEK = 14;

/**
 * @param fill tells clusters apart; keys are the same in all of them.
 * @param nonceEpoch each process that seals must use its own.
 * @param dekId the active one.
 */
export function rowSeal(
  fill = 1,
  nonceEpoch = 1,
  dekId = STORAGE_DEK,
  isUsedUp = (): boolean => false,
): StoreRowSeal {
  const seal = inactiveRowSeal(fill, isUsedUp);
  rotate(seal, dekId, nonceEpoch);
  return seal;
}

/** One that can open, and seal nothing before a DEK is the active one. */
export function inactiveRowSeal(fill = 1, isUsedUp = (): boolean => false): StoreRowSeal {
  const keyring = new Keyring();
  keyring.add(INDEX_DEK, 'index', new Uint8Array(32).fill(3));
  keyring.add(STORAGE_DEK, 'storage', new Uint8Array(32).fill(4));
  keyring.add(NEXT_DEK, 'storage', new Uint8Array(32).fill(5));
  keyring.add(LAST_DEK, 'storage', new Uint8Array(32).fill(6));
  return new StoreRowSeal({
    clusterId: new Uint8Array(16).fill(fill),
    keyring,
    indexDekId: INDEX_DEK,
    isUsedUp,
  });
}

/** Makes another DEK the active one. */
export function rotate(seal: StoreRowSeal, dekId: number, nonceEpoch = 1): void {
  seal.setActive({ dekId, nonces: new NonceSequence({ writerId: 1, nonceEpoch }) });
}
