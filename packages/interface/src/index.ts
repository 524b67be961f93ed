/**
 * Ports and error codes of raftseal. Every other package depends on this one; it depends on none.
 *
 * - {@link RaftEngine}: the replicated log of one shard.
 * - {@link StateMachine}: what the log's data entries are applied to.
 * - {@link KekProvider}: wraps and unwraps data keys outside the log.
 * - {@link KeyState}: the replicated key state and this node's part of it.
 * - {@link Reply}: what a Redis command answers, before a protocol encodes it.
 * - {@link RaftsealError}: one error class, matched by its stable `code`.
 * @packageDocumentation
 */
export * from './error.ts';
export * from './kek-provider.ts';
export * from './key-state.ts';
export * from './raft-engine.ts';
export * from './reply.ts';
export * from './row-seal.ts';
export * from './state-machine.ts';
