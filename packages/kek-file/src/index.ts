/** KEK provider that reads the KEK from a file of mode 0600.
 * @packageDocumentation
 */
export {};
