/** The row seal that a node uses, under keys of the test. */
import { Keyring, NonceSequence, StoreRowSeal } from '@raftseal/envelope';

const INDEX_DEK = 11;
const STORAGE_DEK = 12;

/**
 * @param fill tells clusters apart; keys are the same in all of them.
 * @param nonceEpoch each process that seals must use its own.
 */
export function rowSeal(fill = 1, nonceEpoch = 1): StoreRowSeal {
  const keyring = new Keyring();
  keyring.add(INDEX_DEK, 'index', new Uint8Array(32).fill(3));
  keyring.add(STORAGE_DEK, 'storage', new Uint8Array(32).fill(4));
  const seal = new StoreRowSeal({
    clusterId: new Uint8Array(16).fill(fill),
    keyring,
    indexDekId: INDEX_DEK,
  });
  seal.setActive({ dekId: STORAGE_DEK, nonces: new NonceSequence({ writerId: 1, nonceEpoch }) });
  return seal;
}
