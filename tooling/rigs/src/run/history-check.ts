/** Invariant 8 over the history of a run, key by key. */
import { linearize, type SearchLimits } from '../linearizability/linearization.ts';
import { describeOperation, type History } from '../linearizability/operation.ts';
import { partitionByTag } from '../linearizability/partition.ts';

export interface HistoryCheck {
  /** How many independent histories there were. */
  readonly parts: number;
  /** One text for each that is not linearizable, or that could not be decided: no success either. */
  readonly problems: readonly string[];
}

/** Operations shown before the one that nothing explains. */
const SHOWN = 12;

export function checkHistory(history: History, limits?: SearchLimits): HistoryCheck {
  const parts = partitionByTag(history);
  const problems: string[] = [];
  for (const [tag, part] of parts) {
    const verdict = linearize(part, limits);
    if (verdict.verdict === 'undecided') {
      problems.push(`history of {${tag}}: undecided, ${verdict.reason}`);
    } else if (verdict.verdict === 'violation') {
      const { blocked, longest } = verdict;
      const explained = longest.slice(-SHOWN).map(describeOperation).join('\n    ');
      problems.push(
        `history of {${tag}}: not linearizable. Nothing explains\n    ` +
          `${describeOperation(blocked)}\n  after\n    ${explained}`,
      );
    }
  }
  return { parts: parts.size, problems };
}
