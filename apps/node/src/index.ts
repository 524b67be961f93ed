/** raftseal: a Redis-protocol store, sealed at rest, and its command line.
 * @packageDocumentation
 */
export {};
