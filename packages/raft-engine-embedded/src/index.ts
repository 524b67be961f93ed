/**
 * A Raft group of one on the disk of this machine: the log of every shard of a node in one sequence
 * of segment files, with one flush for all of them, torn tails cut and damage refused.
 * @packageDocumentation
 */
export { type EmbeddedLog, openEmbeddedLog } from './embedded-log.ts';
export { type FindingPlace, inspectEmbeddedLog, type LogFinding } from './inspection.ts';
export { type LogFile, type LogFiles, nodeLogFiles } from './log-files.ts';
export { type EmbeddedLogOptions, PAYLOAD_BYTES_MAX } from './options.ts';
