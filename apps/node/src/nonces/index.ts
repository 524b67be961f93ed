/**
 * What a program needs that puts nonces to the test: the parts of a node that give and draw them,
 * and the audit. Within this repository only; it is not published.
 */
export { KekSet } from '../kek-set.ts';
export { KeyOperations } from '../key-operations.ts';
export { NodeKeys } from '../node-keys.ts';
export { Teardown } from '../teardown.ts';
export { evidenceOf, type NonceEvidence } from './evidence.ts';
export { type AuditMember, auditNonces } from './nonce-audit.ts';
export { RecordWriter } from './nonce-record.ts';
export type { NonceReport } from './report.ts';
