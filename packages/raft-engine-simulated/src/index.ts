/** Raft groups of many replicas in one process, with seeded faults.
 * @packageDocumentation
 */
export {};
