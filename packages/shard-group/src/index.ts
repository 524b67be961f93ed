/** One shard of a replicated log: propose path, payload wrap slot, proposal gate, apply loop, readiness fence.
 * @packageDocumentation
 */
export {};
