/**
 * The suite that every RaftEngine passes: what the port promises, and nothing of how it is kept.
 * A scenario is left out only where the adapter declares that it lacks the capability.
 */
import { appendScenarios } from './raft-engine/append.ts';
import { leadershipScenarios, rivalScenarios } from './raft-engine/leadership.ts';
import { closeScenarios, reopenScenarios, truncationScenarios } from './raft-engine/lifecycle.ts';
import { readScenarios } from './raft-engine/read.ts';
import { type RaftEngineSuiteOptions, scenarioOf } from './raft-engine/scenario.ts';
import type { TestRunner } from './test-runner.ts';

export type {
  RaftEngineCapabilities,
  RaftEngineFixture,
  RaftEngineSuiteOptions,
} from './raft-engine/scenario.ts';

/**
 * Registers the suite with a test runner.
 * @param options `create` is called once for each scenario and makes one shard with an empty log.
 */
export function raftEngineSuite(runner: TestRunner, options: RaftEngineSuiteOptions): void {
  const { capabilities } = options;
  const scenario = scenarioOf(runner, options);
  runner.describe(`RaftEngine: ${options.name}`, () => {
    appendScenarios(scenario);
    readScenarios(scenario);
    leadershipScenarios(scenario);
    truncationScenarios(scenario, capabilities.truncation === 'exact');
    closeScenarios(scenario);
    if (capabilities.rival) rivalScenarios(scenario);
    if (capabilities.reopen) reopenScenarios(scenario, capabilities);
  });
}
