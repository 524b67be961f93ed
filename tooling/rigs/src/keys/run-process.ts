/** One run as a process of its own: `run-process.js <options as JSON>`. Prints the result alone. */
import { type KeyRunOptions, keyRun } from './key-run.ts';

const result = await keyRun(JSON.parse(process.argv[2] ?? '') as KeyRunOptions);
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
