/** KEK provider that takes the KEK from an environment variable and unsets it.
 * @packageDocumentation
 */
export {};
