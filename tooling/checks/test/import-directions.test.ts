import { describe, expect, it } from 'vitest';
import { checkImportDirections } from '../src/import-directions.ts';
import { type Files, manifest, workspaceOf } from './fixture.ts';

const onEverything = {
  dependencies: {
    '@raftseal/interface': 'workspace:^',
    '@raftseal/envelope': 'workspace:^',
    lmdb: '^3.0.0',
  },
  devDependencies: { vitest: '4.0.0' },
};
const files: Files = {
  'packages/interface/src/index.ts': 'export const port = 1;',
  'packages/envelope/src/index.ts': "import type { port } from '@raftseal/interface';",
  'packages/envelope/package.json': manifest('envelope', onEverything),
  'packages/kv/src/index.ts': "import { open } from 'lmdb'; import './row.ts';",
  'packages/kv/src/row.ts': "import { port } from '@raftseal/interface';",
  'packages/kv/test/row.test.ts': "import 'vitest'; import '@raftseal/envelope';",
  'packages/kv/package.json': manifest('kv', onEverything),
  'apps/node/src/index.ts': "export * from '@raftseal/envelope';",
  'apps/node/package.json': manifest('node', onEverything),
};
const check = (changed: Files): string[] =>
  checkImportDirections(workspaceOf({ ...files, ...changed }));

describe('import directions', () => {
  it('accepts what follows the arrows', () => {
    expect(check({})).toEqual([]);
  });

  it.each([
    ['an import', "import { seal } from '@raftseal/envelope';"],
    ['an import of a type', "import type { Seal } from '@raftseal/envelope';"],
    ['an export', "export * from '@raftseal/envelope';"],
    ['a dynamic import', "await import('@raftseal/envelope');"],
  ])('refuses %s against the arrows', (_name, text) => {
    expect(check({ 'packages/kv/src/row.ts': text })).toEqual([
      'packages/kv/src/row.ts:1 imports @raftseal/envelope: kv may import interface',
    ]);
  });

  it('lets the interface import no package', () => {
    const text = "\nimport '@raftseal/envelope';";
    const found = check({
      'packages/interface/src/index.ts': text,
      'packages/interface/package.json': manifest('interface', onEverything),
    });
    expect(found).toEqual([
      'packages/interface/src/index.ts:2 imports @raftseal/envelope: interface may import no package',
    ]);
  });

  it('keeps what is made for tests out of an app', () => {
    const found = check({
      'packages/compliance/src/index.ts': 'export {};',
      'apps/node/src/index.ts': "import '@raftseal/compliance';",
      'apps/node/package.json': manifest('node', {
        dependencies: { '@raftseal/compliance': 'workspace:^' },
      }),
    });
    expect(found).toEqual([expect.stringContaining('imports @raftseal/compliance')]);
  });

  it.each([
    ['fast-check', 'which is not in the dependencies of @raftseal/kv'],
    ['vitest', 'which is not in the dependencies of @raftseal/kv'],
    ['@raftseal/interface/src/index.ts', 'which @raftseal/interface does not export'],
    ['../../envelope/src/index.ts', 'outside src'],
    ['../test/row.test.ts', 'outside src'],
    ['./gone.ts', 'which does not exist'],
    ['#clock', 'which its package.json does not define'],
    ['fs', 'without node:'],
  ])('refuses %s in a source', (specifier, reason) => {
    const found = check({ 'packages/kv/src/row.ts': `import '${specifier}';` });
    expect(found).toEqual([expect.stringContaining(reason)]);
  });

  it.each([
    ['fast-check', 'which is not in the dependencies or devDependencies'],
    ['../../envelope/src/index.ts', 'outside its package'],
  ])('refuses %s in a test', (specifier, reason) => {
    const found = check({ 'packages/kv/test/row.test.ts': `import '${specifier}';` });
    expect(found).toEqual([expect.stringContaining(reason)]);
  });

  it('follows patterns in exports', () => {
    const exports = { '.': './dist/index.js', './vectors/*.json': './vectors/*.json' };
    const found = check({
      'packages/envelope/package.json': manifest('envelope', { ...onEverything, exports }),
      'packages/kv/test/row.test.ts': "import '@raftseal/envelope/vectors/raft.json';",
    });
    expect(found).toEqual([]);
  });

  it('asks for a rule for a new package', () => {
    const found = check({ 'packages/cache/src/index.ts': 'export {};' });
    expect(found).toEqual(['packages/cache has no rule: add one to import-directions.ts']);
  });

  it('ignores what only looks like an import', () => {
    const text = "// import '@raftseal/envelope'\nexport const a = `import 'vitest'`;";
    expect(check({ 'packages/kv/src/row.ts': text })).toEqual([]);
  });
});
