/**
 * Real etcd processes on loopback ports, for tests.
 * @packageDocumentation
 */
export type { Certificate, EtcdTls } from './certificates.ts';
export { type EtcdCluster, type EtcdOptions, type EtcdUser, startEtcd } from './cluster.ts';
export type { EtcdMember } from './member.ts';
