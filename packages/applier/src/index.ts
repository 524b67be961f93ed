/** The key-lifecycle state machine: entry codec, pure transition, effect runner, writer registry.
 * @packageDocumentation
 */
export {};
