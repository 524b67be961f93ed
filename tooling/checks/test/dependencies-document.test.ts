import { expect, it } from 'vitest';
import { checkDependenciesDocument } from '../src/dependencies-document.ts';
import { type Files, manifest, workspaceOf } from './fixture.ts';

const files: Files = {
  'package.json': manifest('root', { devDependencies: { turbo: '1.0.0' } }),
  'packages/interface/src/index.ts': '',
  'packages/kv/package.json': manifest('kv', {
    dependencies: { lmdb: '^3.0.0', '@raftseal/interface': 'workspace:^' },
  }),
  'docs/dependencies.md': '| `lmdb` | kv |\n| `turbo` | root |\n',
};

it('accepts a document of what is used', () => {
  expect(checkDependenciesDocument(workspaceOf(files))).toEqual([]);
});

it('finds what the document lacks and what it has too many', () => {
  const document = '| `lmdb` | kv |\n| `pino` | `turbo` |\n';
  const workspace = workspaceOf({ ...files, 'docs/dependencies.md': document });
  expect(checkDependenciesDocument(workspace)).toEqual([
    'docs/dependencies.md has no row for turbo',
    'docs/dependencies.md has pino, unused',
  ]);
});
