/** Whether a history of clients is linearizable. */
export { linearize, type SearchLimits, type Verdict } from './linearization.ts';
export { type Command, describeOperation, type Operation, type Reply } from './operation.ts';
export { partitionByTag } from './partition.ts';
