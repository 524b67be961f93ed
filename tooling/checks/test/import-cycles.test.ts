import { expect, it } from 'vitest';
import { checkImportCycles } from '../src/import-cycles.ts';
import { workspaceOf } from './fixture.ts';

it('accepts files that import one another in one direction', () => {
  const workspace = workspaceOf({
    'packages/kv/src/a.ts': "import './b.ts'; import './c.ts';",
    'packages/kv/src/b.ts': "import './c.ts';",
    'packages/kv/src/c.ts': "import type { A } from './a.ts'; export type { B } from './b.ts';",
  });
  expect(checkImportCycles(workspace)).toEqual([]);
});

it('shows the way that a file takes to itself', () => {
  const workspace = workspaceOf({
    'packages/kv/src/a.ts': "import './b.ts';",
    'packages/kv/src/b.ts': "import './c.ts';",
    'packages/kv/src/c.ts': "export { type B } from './b.ts';",
  });
  expect(checkImportCycles(workspace)).toEqual([
    'packages/kv/src/b.ts -> packages/kv/src/c.ts -> packages/kv/src/b.ts',
  ]);
});
