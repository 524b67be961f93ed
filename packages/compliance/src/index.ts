/**
 * Compliance suites: what an adapter of a raftseal port must pass. Each suite is a function that
 * takes the test runner's `describe` and `it` and a factory of the adapter under test, so that any
 * runner serves (vitest, node:test, mocha).
 * @packageDocumentation
 */
export * from './kek-provider-suite.ts';
export * from './raft-engine-suite.ts';
export * from './state-machine-suite.ts';
export * from './test-runner.ts';
