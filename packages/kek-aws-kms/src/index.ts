/**
 * A KEK provider over AWS KMS.
 * @packageDocumentation
 */
export { type KekFromAwsKmsOptions, kekFromAwsKms } from './aws-kms-kek.ts';
