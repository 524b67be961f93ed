/** What is wrong with how a program took a fault, before what it left is looked at. */
import { readTold, type Told } from '../children/told.ts';
import type { Subject } from '../subjects/subject.ts';
import { acknowledgedAfterFault, isFlush } from './trace.ts';
import type { Fault, TracedEnd } from './traced-run.ts';

/** @param told by the program, where its output is not in the words of say.ts */
export function conductProblems(
  subject: Subject,
  fault: Fault,
  end: TracedEnd,
  told: Told = readTold(end.output),
): string[] {
  if (end.isLate) return ['it hung'];
  if (fault.kind === 'kill') return [];
  const problems: string[] = [];
  if (end.signal !== null) problems.push(`it was ended by ${end.signal}`);
  const uncoded = told.failed.filter((code) => !code.startsWith('RAFTSEAL_'));
  if (uncoded.length > 0) problems.push(`it failed without a code: ${uncoded.join(', ')}`);
  const isExplained = told.isDone || told.failed.length + told.refused.length > 0;
  if (!isExplained) problems.push(`it ended with status ${end.status} and said nothing`);
  if (fault.kind !== 'error') return problems;
  const { call, path } = fault.site;
  const mayGoOn = !isFlush(call) || subject.mayGoOnAfter(path);
  if (!mayGoOn && acknowledgedAfterFault(end.trace)) {
    problems.push('it acknowledged after a flush that failed');
  }
  return problems;
}
