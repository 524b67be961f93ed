/**
 * Replicated logs in an existing etcd cluster: a `RaftEngine` for every shard of a node, with
 * leaders elected under a lease, appends fenced by etcd itself, and documents beside the logs.
 * @packageDocumentation
 */
export { readEtcdDocuments } from './document-reading.ts';
export type { Change, Condition, Document, EtcdDocuments } from './documents.ts';
export { encodeEntry } from './entry-codec.ts';
export { type EtcdLog, type EtcdLogStatus, type EtcdSession, openEtcdLog } from './etcd-log.ts';
export type { EtcdEvent, EtcdEventKind } from './events.ts';
export { inspectEtcdLog } from './inspection.ts';
export { type EtcdAccess, type EtcdLogOptions, PAYLOAD_BYTES_MAX } from './options.ts';
export { clearEtcdPrefix, isEtcdPrefixEmpty } from './prefix.ts';
