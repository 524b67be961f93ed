/**
 * One run as a process of its own, inside its sandbox: `run-process.js <options as JSON>`. Its only
 * line of output is the result.
 */
import { clusterRun, type RunOptions } from './cluster-run.ts';

const result = await clusterRun(JSON.parse(process.argv[2] ?? '') as RunOptions);
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
