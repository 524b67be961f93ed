/**
 * A KEK provider that reads the KEK from a file of 32 bytes and mode 0600.
 *
 * - {@link kekFromFile}: checks and reads the file.
 * - {@link createKekFile}: makes one with a random KEK.
 * @packageDocumentation
 */
export { createKekFile } from './creation.ts';
export { kekFromFile } from './file-kek.ts';
