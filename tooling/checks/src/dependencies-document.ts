/** docs/dependencies.md has a row for each package that a manifest names, and for no other. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest, Workspace } from './workspace.ts';

const dependenciesPath = 'docs/dependencies.md';

export function checkDependenciesDocument({ root, packages }: Workspace): string[] {
  const rootManifest: Manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const own = new Set(packages.map(({ manifest }) => manifest.name));
  const used = new Set(
    [rootManifest, ...packages.map(({ manifest }) => manifest)]
      .flatMap(({ dependencies, peerDependencies, devDependencies }) =>
        Object.keys({ ...dependencies, ...peerDependencies, ...devDependencies }),
      )
      .filter((name) => !own.has(name)),
  );
  const document = readFileSync(join(root, dependenciesPath), 'utf8');
  const rows = new Set([...document.matchAll(/^\| `([^`]+)` *\|/gm)].map(([, name = '']) => name));
  return [
    ...[...used]
      .filter((name) => !rows.has(name))
      .map((name) => `${dependenciesPath} has no row for ${name}`),
    ...[...rows]
      .filter((name) => !used.has(name))
      .map((name) => `${dependenciesPath} has ${name}, unused`),
  ];
}
