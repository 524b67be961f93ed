/** Compliance suites for RaftEngine, KekProvider and StateMachine adapters.
 * @packageDocumentation
 */
export {};
