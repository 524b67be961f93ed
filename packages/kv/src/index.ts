/** Redis-semantics state machine over an LMDB store with sealed values and lookup keys.
 * @packageDocumentation
 */
export {};
