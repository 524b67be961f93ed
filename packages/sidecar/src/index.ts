/** The key-state file of a node: codec, validation, MAC and the crash-durable write.
 * @packageDocumentation
 */
export {};
