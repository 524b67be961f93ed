/**
 * raftseal: a Redis-protocol store, sealed at rest, made of the raftseal packages. This module lets
 * a program run a node in its own process; the `raftseal` command is built on it.
 * @packageDocumentation
 */
export type { AdminOperations, KeyStatus, NodeStatus, ShardStatus } from './admin/operations.ts';
export { checkConfig, type NodeConfig } from './config.ts';
export { Node, startNode } from './node.ts';
export type { VerifyReport } from './verify/report.ts';
