/**
 * Each invariant that docs/architecture.md numbers (`**Invariant N**`) is borne by the name of at
 * least one test (`invariant N`), and no test names an invariant that is not there.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Visitor } from 'oxc-parser';
import { place, type SourceFile } from './source-file.ts';
import type { Workspace } from './workspace.ts';

const invariantsPath = 'docs/architecture.md';

const INVARIANT_COUNT = 12;
const testFunctions = new Set(['it', 'test', 'describe']);

export function checkInvariants(workspace: Workspace): string[] {
  let document: string;
  try {
    document = readFileSync(join(workspace.root, invariantsPath), 'utf8');
  } catch {
    return [`${invariantsPath} is missing: it states the invariants`];
  }
  const stated = [...document.matchAll(/\*\*Invariant (\d+)\*\*/g)].map(([, n]) => Number(n));
  const expected = Array.from({ length: INVARIANT_COUNT }, (_, n) => n + 1);
  const findings: string[] = [];
  if (stated.join() !== expected.join()) {
    const numbers = stated.join(', ') || 'none';
    findings.push(`${invariantsPath} states ${numbers}: expected 1 to ${INVARIANT_COUNT} in order`);
  }

  const files = workspace.packages.flatMap(({ sources, tests, folder }) =>
    folder === 'compliance' ? [...sources, ...tests] : tests,
  );
  const named = files.flatMap(namedInvariants);
  const tested = new Set(named.map(({ invariant }) => invariant));
  for (const invariant of expected) {
    if (!tested.has(invariant)) findings.push(`no test bears the name "invariant ${invariant}"`);
  }
  for (const { invariant, place } of named) {
    if (!expected.includes(invariant)) findings.push(`${place} names invariant ${invariant}`);
  }
  return findings;
}

/** The invariants in the names of a file's tests: `invariant 5`, `invariants 1 and 4`. */
function namedInvariants(file: SourceFile): { invariant: number; place: string }[] {
  const named: { invariant: number; place: string }[] = [];
  new Visitor({
    CallExpression({ callee, arguments: [title] }) {
      const [name = ''] = file.text.slice(callee.start, callee.end).split(/[.(]/);
      if (!testFunctions.has(name) || title === undefined) return;
      if (title.type !== 'Literal' && title.type !== 'TemplateLiteral') return;
      const text = file.text.slice(title.start, title.end);
      for (const [list] of text.matchAll(/\binvariants? \d+(?:(?:, | and )\d+)*/gi)) {
        for (const [number] of list.matchAll(/\d+/g)) {
          named.push({ invariant: Number(number), place: place(file, title.start) });
        }
      }
    },
  }).visit(file.program);
  return named;
}
