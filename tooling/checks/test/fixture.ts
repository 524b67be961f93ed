/** A small repository on disk, made of the files that a test names. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { readWorkspace, type Workspace } from '../src/workspace.ts';

/** Path to content; the manifest of a package is made where it is not given. */
export type Files = Readonly<Record<string, string>>;

export function workspaceOf(files: Files): Workspace {
  const root = mkdtempSync(join(tmpdir(), 'raftseal-fixture-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const all: Record<string, string> = {};
  for (const path of Object.keys(files)) {
    const [, directory, folder] = /^((?:packages|apps|tooling)\/([^/]+))\//.exec(path) ?? [];
    if (directory !== undefined) all[`${directory}/package.json`] = manifest(folder ?? '');
  }
  for (const [path, text] of Object.entries({ ...all, ...files })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return readWorkspace(root);
}

/** A manifest as the packages have it; `more` replaces its fields. */
export function manifest(folder: string, more: object = {}): string {
  return JSON.stringify({
    name: `@raftseal/${folder}`,
    version: '0.1.0',
    license: 'Apache-2.0',
    type: 'module',
    files: ['dist'],
    exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' } },
    ...more,
  });
}
