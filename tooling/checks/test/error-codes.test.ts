import { describe, expect, it } from 'vitest';
import { checkErrorCodes, checkErrorsDocument } from '../src/error-codes.ts';
import { errorsDocument, readErrorTable } from '../src/errors-document.ts';
import { type Files, workspaceOf } from './fixture.ts';

const files: Files = {
  'packages/interface/src/errors/kv.ts':
    "export const kvErrors = { RAFTSEAL_KV_CORRUPT: 'A row does not decode.' } as const;",
  'packages/kv/src/index.ts': "throw new RaftsealError('RAFTSEAL_KV_CORRUPT', 'x');",
};
const check = (changed: Files): string[] => checkErrorCodes(workspaceOf({ ...files, ...changed }));

describe('error codes', () => {
  it('accepts a table of what is raised', () => {
    expect(check({})).toEqual([]);
  });

  it('finds a code that nothing raises', () => {
    const found = check({ 'packages/kv/src/index.ts': '// RAFTSEAL_KV_CORRUPT' });
    expect(found).toEqual(['RAFTSEAL_KV_CORRUPT is listed, and nothing raises it']);
  });

  it.each([
    "if (error.code === 'RAFTSEAL_KV_CORRUPT') stop();",
    "switch (code) { case 'RAFTSEAL_KV_CORRUPT': stop(); }",
  ])('does not take a comparison for a raise: %s', (text) => {
    expect(check({ 'packages/kv/src/index.ts': text })).toHaveLength(1);
  });

  it('finds a code that no table lists', () => {
    const text = `${files['packages/kv/src/index.ts']}\nthrow fatalError('RAFTSEAL_KV_ODD', 'x');`;
    expect(check({ 'packages/kv/src/index.ts': text })).toEqual([
      'packages/kv/src/index.ts:2 raises RAFTSEAL_KV_ODD, which no table lists',
    ]);
  });

  it('finds a code in the file of another area', () => {
    const text = "export const nodeErrors = { RAFTSEAL_KV_CORRUPT: 'A row does not decode.' };";
    const found = check({
      'packages/interface/src/errors/kv.ts': '',
      'packages/interface/src/errors/node.ts': text,
    });
    expect(found).toEqual([
      'errors/node.ts lists RAFTSEAL_KV_CORRUPT: expected RAFTSEAL_NODE_<CONDITION>',
    ]);
  });

  it('finds a code without a description', () => {
    const text = "export const kvErrors = { RAFTSEAL_KV_CORRUPT: '' };";
    expect(check({ 'packages/interface/src/errors/kv.ts': text })).toHaveLength(1);
  });

  it.each(['packages/kv/src/row.ts', 'packages/kv/README.md', 'docs/operating.md', 'README.md'])(
    'finds a code that is gone in %s',
    (path) => {
      const found = check({ [path]: '/* RAFTSEAL_KV_GONE, RAFTSEAL_KV_*, RAFTSEAL_KV_CORRUPT */' });
      expect(found).toEqual([expect.stringContaining('names RAFTSEAL_KV_GONE')]);
    },
  );

  it('tells the names of environment variables from codes', () => {
    const found = check({
      'apps/node/src/index.ts': "const token = process.env['RAFTSEAL_ADMIN_TOKEN'];",
      'README.md': 'Set `RAFTSEAL_ADMIN_TOKEN`.',
    });
    expect(found).toEqual([]);
  });
});

describe('the errors document', () => {
  it('is what the table makes it', () => {
    const text = errorsDocument(readErrorTable(workspaceOf(files).root));
    expect(text).toContain('## kv');
    expect(text).toContain('| code                  | condition              |\n');
    expect(text).toContain('| `RAFTSEAL_KV_CORRUPT` | A row does not decode. |\n');
    expect(checkErrorsDocument(workspaceOf({ ...files, 'docs/errors.md': text }))).toEqual([]);
  });

  it.each([{}, { 'docs/errors.md': '# Error codes\n' }])(
    'is asked for where it differs',
    (more) => {
      expect(checkErrorsDocument(workspaceOf({ ...files, ...more }))).toHaveLength(1);
    },
  );
});
