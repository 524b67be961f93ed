/**
 * A KEK provider over a 32-byte key that the process holds in memory. Other providers that end up
 * with the KEK's bytes, such as a file or an environment variable, are built on it.
 *
 * A provider whose KEK is elsewhere, and that does AES-256-GCM there, takes the format of the wrap
 * from here ({@link wrapAad} and the lengths), so that its wraps are the same bytes.
 * @packageDocumentation
 */
export { type KekInMemoryOptions, kekInMemory } from './memory-kek.ts';
export {
  checkDekLength,
  KEK_BYTES,
  providerClosed,
  WRAP_NONCE_BYTES,
  WRAP_TAG_BYTES,
  WRAPPED_DEK_BYTES,
  wrapAad,
  wrapMismatch,
} from './wrap-format.ts';
