/** RESP2 and RESP3 server codec with limits on every length.
 * @packageDocumentation
 */
export {};
