/**
 * One shard of a replicated log: batching, sealing and appending on the leader; strict, sequential
 * apply on every replica; the wrap slot that a cutover fills; the fence that keeps a new leader
 * quiet until it has applied what it inherited.
 *
 * A group takes its engine, state machine and key lifecycle as explicit parts; it knows no keys.
 * @packageDocumentation
 */
export type { EntryApplierOptions, KeyLifecycle } from './entry-applier.ts';
export type { Restore, Restored } from './log-follower.ts';
export type {
  CutoverStep,
  ShardGroupOptions,
  ShardGroupParts,
  ShardGroupState,
} from './options.ts';
export {
  COMMAND_HEADER_BYTES,
  DATA_HEADER_BYTES,
  DataCursor,
  KIND_DATA,
  KIND_KEY_LIFECYCLE,
  TAG_BYTES,
  TAG_CLEARTEXT,
  TAG_SEALED,
} from './payload.ts';
export {
  type CleartextWrap,
  cleartext,
  mustBeSealed,
  type RaftPayloadWrap,
  type SealedWrap,
  sealed,
} from './payload-wrap.ts';
export type { Done } from './proposal-queue.ts';
export { ShardGroup } from './shard-group.ts';
