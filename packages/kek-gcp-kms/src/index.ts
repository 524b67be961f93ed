/**
 * A KEK provider over Cloud KMS of Google Cloud.
 * @packageDocumentation
 */
export { type KekFromGcpKmsOptions, kekFromGcpKms } from './gcp-kms-kek.ts';
