/**
 * The packages of this repository as they lie on disk: manifests and parsed sources, read once and
 * shared by the checks. Nothing here writes.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { parseSource, type SourceFile } from './source-file.ts';

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly license?: string;
  readonly bin?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly imports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

export interface Package {
  /** Folder name, such as `kek-file`. */
  readonly folder: string;
  /** Absolute. */
  readonly directory: string;
  readonly kind: 'package' | 'app' | 'tool';
  readonly manifest: Manifest;
  /** Everything under src. */
  readonly sources: readonly SourceFile[];
  /** Everything under test. */
  readonly tests: readonly SourceFile[];
}

export interface Workspace {
  /** Absolute path of the repository. */
  readonly root: string;
  readonly packages: readonly Package[];
}

const parents = [
  ['packages', 'package'],
  ['apps', 'app'],
  ['tooling', 'tool'],
] as const;

/** Reads every package under packages, apps and tooling. */
export function readWorkspace(root: string): Workspace {
  const packages = parents.flatMap(([parent, kind]) =>
    listDirectory(join(root, parent))
      .map((folder) => join(root, parent, folder))
      .filter((directory) => existsSync(join(directory, 'package.json')))
      .map((directory) => readPackage(root, directory, kind)),
  );
  return { root, packages };
}

/** The packages that are published. */
export function publishedPackages(workspace: Workspace): Package[] {
  return workspace.packages.filter(({ manifest }) => manifest.private !== true);
}

/** Paths below a directory, relative to it and sorted; empty where it does not exist. */
export function filesBelow(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
    .sort();
}

function readPackage(root: string, directory: string, kind: Package['kind']): Package {
  const sourcesOf = (folder: string): SourceFile[] =>
    filesBelow(join(directory, folder))
      .filter((path) => path.endsWith('.ts'))
      .map((path) => parseSource(root, join(directory, folder, path)));
  return {
    folder: basename(directory),
    directory,
    kind,
    manifest: JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')),
    sources: sourcesOf('src'),
    tests: sourcesOf('test'),
  };
}

function listDirectory(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory).sort() : [];
}
