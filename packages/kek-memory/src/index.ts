/** Wraps data keys under a 32-byte KEK that the process holds in memory.
 * @packageDocumentation
 */
export {};
