/**
 * Small KEK services on loopback ports, with faults on demand, for tests.
 * @packageDocumentation
 */

export { type AwsKey, type AwsKms, startAwsKms } from './aws-kms.ts';
export { type GcpKey, type GcpKms, startGcpKms } from './gcp-kms.ts';
export { HeldKey } from './held-key.ts';
export type { Fault, FaultAim, HttpAnswer, HttpRequest } from './local-http.ts';
export { fieldOf, LocalHttp } from './local-http.ts';
export { startVault, type TransitKeyOptions, type TransitKeyState, type Vault } from './vault.ts';
