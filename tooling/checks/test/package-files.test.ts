import { describe, expect, it } from 'vitest';
import { checkFileLengths, checkManifests, checkStaleOutputs } from '../src/package-files.ts';
import { manifest, workspaceOf } from './fixture.ts';

describe('manifests', () => {
  const files = {
    LICENSE: 'Apache License',
    'packages/kv/README.md': '# kv\n\n```ts\nopen();\n```\n',
  };

  it('accepts a package with its licence, its README and an example', () => {
    expect(checkManifests(workspaceOf(files))).toEqual([]);
  });

  it.each([
    [{ 'packages/kv/package.json': manifest('kv', { license: 'MIT' }) }, 'found MIT'],
    [{ 'packages/resp/src/index.ts': '' }, '@raftseal/resp has no README.md'],
    [{ 'packages/kv/README.md': '# kv\n' }, 'shows no example'],
  ])('finds what is missing: %o', (changed, finding) => {
    const found = checkManifests(workspaceOf({ ...files, ...changed }));
    expect(found).toEqual([expect.stringContaining(finding)]);
  });
});

describe('file lengths', () => {
  it.each([
    [500, 0],
    [501, 1],
  ])('%i lines are %i findings', (lines, findings) => {
    const workspace = workspaceOf({ 'packages/kv/src/a.ts': ';\n'.repeat(lines) });
    expect(checkFileLengths(workspace)).toHaveLength(findings);
  });
});

describe('stale outputs', () => {
  it('finds the output of a source that is gone', () => {
    const workspace = workspaceOf({
      'packages/kv/src/rows/a.ts': '',
      'packages/kv/dist/rows/a.js': '',
      'packages/kv/dist/rows/b.js': '',
    });
    expect(checkStaleOutputs(workspace)).toEqual([
      expect.stringContaining('dist/rows/b.js has no source'),
    ]);
  });

  it('finds a package that is not built', () => {
    const workspace = workspaceOf({ 'packages/kv/src/a.ts': '' });
    expect(checkStaleOutputs(workspace)).toEqual([expect.stringContaining('is not built')]);
  });
});
