/**
 * What the KEK providers over a network service have in common: time limits, retries and refusals.
 * A provider of a service of your own is a {@link KekService}.
 * @packageDocumentation
 */
export { base64Of, bytesOfBase64 } from './base64.ts';
export { DoesNotOpen } from './does-not-open.ts';
export {
  fieldOf,
  type JsonAnswer,
  JsonClient,
  type JsonClientOptions,
  type JsonRequest,
  keepsSecrets,
  secretEndpoint,
} from './json-client.ts';
export { quoted } from './quoting.ts';
export {
  kekCredentials,
  kekDenied,
  kekDisabled,
  kekMissing,
  kekUnavailable,
  kekUnfit,
  kekUriMalformed,
} from './refusals.ts';
export {
  type KekService,
  openRemoteKek,
  type RemoteKekOptions,
  type WrapPlace,
} from './remote-kek.ts';
export type { KekCall } from './service-call.ts';
export { type KekTimeLimits, kekTimeLimits } from './time-limits.ts';
export {
  connectionFailureOf,
  isTransientStatus,
  retryAfterMsOf,
  TransientKekFailure,
} from './transient-failure.ts';
