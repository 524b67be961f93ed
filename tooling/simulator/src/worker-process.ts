/** Runs the seeds that its parent asks for, and answers with what they showed. */
import type { SeedRange } from './fleet.ts';
import { simulateSeed } from './run.ts';
import { noRuns, withRun } from './totals.ts';

process.on('message', ({ from, count, plant }: SeedRange) => {
  void (async () => {
    let totals = noRuns;
    for (let seed = from; seed < from + count; seed++) {
      totals = withRun(totals, await simulateSeed(seed, plant));
      if (totals.violations.length > 0) break;
    }
    process.send?.(totals);
  })();
});
