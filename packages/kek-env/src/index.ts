/**
 * A KEK provider that takes the KEK from an environment variable and unsets it.
 * @packageDocumentation
 */
export { type KekFromEnvOptions, kekFromEnv } from './env-kek.ts';
