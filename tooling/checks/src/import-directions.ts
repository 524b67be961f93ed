/**
 * Who may import whom. The interface package imports nothing; adapters know the ports only; what
 * seals reaches stores and engines through a port; apps alone put adapters together. A package is
 * entered through its exports, and imports only what its manifest declares.
 */
import { existsSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, resolve, sep } from 'node:path';
import type { Import, SourceFile } from './source-file.ts';
import type { Package, Workspace } from './workspace.ts';

/** Folder of a package to the folders of the packages that its sources may import. */
const rules: Readonly<Record<string, readonly string[]>> = {
  interface: [],
  envelope: ['interface'],
  sidecar: ['interface'],
  'shard-group': ['interface'],
  applier: ['interface', 'envelope', 'sidecar'],
  kv: ['interface'],
  resp: ['interface'],
  'raft-engine-*': ['interface'],
  'kek-file': ['interface', 'kek-memory'],
  'kek-env': ['interface', 'kek-memory'],
  'kek-pkcs11': ['interface', 'kek-memory'],
  'kek-remote': ['interface', 'kek-memory'],
  'kek-vault-transit': ['interface', 'kek-remote'],
  'kek-aws-kms': ['interface', 'kek-remote'],
  'kek-gcp-kms': ['interface', 'kek-remote'],
  'kek-*': ['interface'],
  compliance: ['interface'],
};

/** Made for tests: an app never runs on them. */
const testPackages = ['compliance', 'simulator', 'raft-engine-simulated'];

export function checkImportDirections(workspace: Workspace): string[] {
  const byName = new Map(workspace.packages.map((each) => [each.manifest.name, each]));
  return workspace.packages.flatMap((importer) => {
    const allowed = allowedFolders(importer, workspace);
    if (allowed === undefined) {
      return [`packages/${importer.folder} has no rule: add one to import-directions.ts`];
    }
    const of = (files: readonly SourceFile[], isTest: boolean): string[] =>
      files.flatMap((file) =>
        file.imports.flatMap((found) => {
          const finding = findingOf(found, file, importer, isTest, byName, allowed);
          return finding === undefined ? [] : [`${file.name}:${found.line} ${finding}`];
        }),
      );
    return [...of(importer.sources, false), ...of(importer.tests, true)];
  });
}

function allowedFolders(importer: Package, { packages }: Workspace): string[] | undefined {
  if (importer.kind === 'tool') return packages.map(({ folder }) => folder);
  if (importer.kind === 'app') {
    return packages
      .filter(({ kind, folder }) => kind === 'package' && !testPackages.includes(folder))
      .map(({ folder }) => folder);
  }
  const wildcard = Object.keys(rules).find(
    (rule) => rule.endsWith('*') && importer.folder.startsWith(rule.slice(0, -1)),
  );
  const rule = rules[importer.folder] ?? (wildcard === undefined ? undefined : rules[wildcard]);
  return rule === undefined ? undefined : [...rule];
}

function findingOf(
  { specifier }: Import,
  file: SourceFile,
  importer: Package,
  isTest: boolean,
  byName: ReadonlyMap<string, Package>,
  allowed: readonly string[],
): string | undefined {
  if (specifier.startsWith('.')) return relativeFinding(specifier, file, importer, isTest);
  if (specifier.startsWith('#')) {
    const isDeclared = importer.manifest.imports?.[specifier] !== undefined;
    return isDeclared ? undefined : `imports ${specifier}, which its package.json does not define`;
  }
  if (isBuiltin(specifier)) {
    return specifier.startsWith('node:') ? undefined : `imports ${specifier} without node:`;
  }
  const name = packageName(specifier);
  if (name !== importer.manifest.name && !isDeclared(name, importer, isTest)) {
    const where = isTest ? 'dependencies or devDependencies' : 'dependencies';
    return `imports ${name}, which is not in the ${where} of ${importer.manifest.name}`;
  }
  const imported = byName.get(name);
  if (imported === undefined) return undefined;
  const entry = `.${specifier.slice(name.length)}`;
  if (!exportsEntry(imported, entry)) {
    return `imports ${specifier}, which ${name} does not export`;
  }
  if (isTest || imported === importer || allowed.includes(imported.folder)) return undefined;
  return `imports ${name}: ${importer.folder} may import ${allowed.join(', ') || 'no package'}`;
}

function relativeFinding(
  specifier: string,
  file: SourceFile,
  importer: Package,
  isTest: boolean,
): string | undefined {
  const target = resolve(dirname(file.path), specifier);
  const bounds = isTest ? importer.directory : resolve(importer.directory, 'src');
  // Checks and rigs of tooling may look at the scripts of the repository.
  const isInside = importer.kind === 'tool' || target.startsWith(bounds + sep);
  if (!isInside) return `imports ${specifier}, outside ${isTest ? 'its package' : 'src'}`;
  return existsSync(target) ? undefined : `imports ${specifier}, which does not exist`;
}

function isDeclared(name: string, { manifest }: Package, isTest: boolean): boolean {
  const lists = [manifest.dependencies, manifest.peerDependencies];
  if (isTest) lists.push(manifest.devDependencies);
  return lists.some((list) => list?.[name] !== undefined);
}

/** Whether `exports` has the entry, as such or by a pattern such as `./vectors/*.json`. */
function exportsEntry({ manifest }: Package, entry: string): boolean {
  return Object.keys(manifest.exports ?? {}).some((key) => {
    const [before = '', after] = key.split('*');
    if (after === undefined) return key === entry;
    return entry.startsWith(before) && entry.endsWith(after);
  });
}

function packageName(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}
