import { expect, it } from 'vitest';
import { checkInvariants } from '../src/invariants.ts';
import { type Files, workspaceOf } from './fixture.ts';

const numbers = Array.from({ length: 12 }, (_, n) => n + 1);
const files: Files = {
  'docs/architecture.md': numbers.map((n) => `**Invariant ${n}** holds.\n`).join('\n'),
  'packages/kv/test/a.test.ts': numbers
    .slice(2)
    .map((n) => `it('invariant ${n}: it holds', () => {});`)
    .join('\n'),
  'packages/kv/test/b.test.ts':
    "describe('both', () => { it.each([1])(`invariants 1 and 2: %i`, () => {}); });",
};
const check = (changed: Files): string[] => checkInvariants(workspaceOf({ ...files, ...changed }));

it('accepts invariants that are all tested', () => {
  expect(check({})).toEqual([]);
});

it('finds an invariant in no name of a test', () => {
  const text = "// invariant 1\nit('holds', () => { name('invariant 2'); });";
  expect(check({ 'packages/kv/test/b.test.ts': text })).toEqual([
    'no test bears the name "invariant 1"',
    'no test bears the name "invariant 2"',
  ]);
});

it('does not take invariant 12 for invariant 1', () => {
  const text = "it('invariants 2, 12: both', () => {});";
  expect(check({ 'packages/kv/test/b.test.ts': text })).toEqual([
    'no test bears the name "invariant 1"',
  ]);
});

it('finds a test of an invariant that is not stated', () => {
  const found = check({ 'packages/kv/test/c.test.ts': "it('invariant 13: new', () => {});" });
  expect(found).toEqual(['packages/kv/test/c.test.ts:1 names invariant 13']);
});

it('finds an invariant that the document lost', () => {
  const text = numbers.slice(1).map((n) => `**Invariant ${n}**`);
  expect(check({ 'docs/architecture.md': text.join('\n') })).toHaveLength(1);
});
