/**
 * What the key that signs a cluster's certificates comes from: 32 bytes that HKDF-SHA-256 (RFC 5869,
 * no salt, the label below as info) derives from the index DEK.
 */
import { deriveBytes } from '#crypto';
import type { Keyring } from './keyring.ts';

const CERTIFICATE_KEY_LABEL = 'raftseal certificate key v1';
const SEED_BYTES = 32;

/**
 * @param indexDekId a loaded DEK of purpose `index`
 * @returns 32 bytes that the caller owns and wipes
 * @throws RAFTSEAL_ENVELOPE_UNKNOWN_DEK, RAFTSEAL_ENVELOPE_WRONG_PURPOSE
 */
export function certificateSeed(keyring: Keyring, indexDekId: number): Uint8Array {
  return deriveBytes(keyring.openingKey(indexDekId, 'index'), CERTIFICATE_KEY_LABEL, SEED_BYTES);
}
