/** A Raft group of one on the disk of this machine: segment files, group commit, truncation.
 * @packageDocumentation
 */
export {};
