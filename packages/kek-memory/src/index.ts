/**
 * A KEK provider over a 32-byte key that the process holds in memory. Other providers that end up
 * with the KEK's bytes, such as a file or an environment variable, are built on it.
 * @packageDocumentation
 */
export {
  KEK_BYTES,
  type KekInMemoryOptions,
  kekInMemory,
  WRAPPED_DEK_BYTES,
} from './memory-kek.ts';
