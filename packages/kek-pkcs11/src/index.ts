/**
 * A KEK provider over an AES key that never leaves a PKCS#11 token, such as an HSM.
 *
 * - {@link kekFromPkcs11}: opens the token and finds the key.
 * - {@link createPkcs11Key}: makes a key that is fit to be a KEK.
 * @packageDocumentation
 */
export { createPkcs11Key, kekFromPkcs11, type Pkcs11Options } from './pkcs11-kek.ts';
