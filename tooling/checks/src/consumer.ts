/**
 * A project that uses the packages as published. They lie beside it, in a store where a package
 * sees what its published manifest names and nothing else. Third-party packages are the installed
 * ones, so that nothing is fetched; the project may import those that a package depends on, since
 * what a package takes as an option may come from there.
 */
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { PackedPackage } from './packed-packages.ts';
import { failureOf, runProgram } from './program.ts';
import type { Manifest } from './workspace.ts';

const compilerOptions = {
  target: 'es2023',
  lib: ['es2023'],
  module: 'nodenext',
  strict: true,
  exactOptionalPropertyTypes: true,
  types: ['node'],
  rootDir: '.',
  outDir: 'out',
};

/**
 * Installs the tarballs in `directory`, imports and requires each, compiles against their types,
 * runs the first example of each README and asks each command for its help.
 */
export async function checkConsumer(
  root: string,
  packed: readonly PackedPackage[],
  directory: string,
): Promise<string[]> {
  const project = join(directory, 'project');
  const findings = await installTarballs(root, packed, directory, join(project, 'node_modules'));
  if (findings.length > 0) return findings;
  const names = packed.map(({ source }) => source.manifest.name);
  const write = (name: string, text: string): void => writeFileSync(join(project, name), text);
  write('package.json', JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
  write('tsconfig.json', JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  write('load.ts', loadingProgram(names));
  write('load.cjs', requiringProgram(names));
  const examples = packed.flatMap(({ source }) => {
    const example = firstExample(join(source.directory, 'README.md'));
    return example === undefined ? [] : [{ name: `${source.folder}-example`, example }];
  });
  for (const { name, example } of examples) write(`${name}.ts`, example);

  const options = { cwd: project };
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const compiled = await runProgram(process.execPath, [compiler, '-p', '.'], options);
  const programs = ['out/load.js', 'load.cjs', ...examples.map(({ name }) => `out/${name}.js`)];
  findings.push(...failureOf('tsc of a consumer', compiled));
  for (const program of programs) {
    const run = await runProgram(process.execPath, [program], options);
    findings.push(...failureOf(`node ${program}`, run));
  }
  for (const { source } of packed) {
    for (const [command, path] of Object.entries(source.manifest.bin ?? {})) {
      const program = join('node_modules', source.manifest.name, path);
      const run = await runProgram(process.execPath, [program, '--help'], options);
      findings.push(...failureOf(`${command} --help`, run));
    }
  }
  return findings;
}

/** Lays each package out in a store, beside links to its dependencies, and links the project. */
async function installTarballs(
  root: string,
  packed: readonly PackedPackage[],
  directory: string,
  projectModules: string,
): Promise<string[]> {
  const findings: string[] = [];
  const homes = new Map(
    packed.map(({ source }) => [
      source.manifest.name,
      join(directory, 'store', source.folder, 'node_modules'),
    ]),
  );
  for (const { source, tarball } of packed) {
    const { name } = source.manifest;
    const home = homes.get(name) ?? '';
    const target = join(home, name);
    mkdirSync(target, { recursive: true });
    const args = ['-xzf', tarball, '--strip-components=1', '-C', target];
    findings.push(
      ...failureOf(`tar ${args.join(' ')}`, await runProgram('tar', args, { cwd: root })),
    );
    const manifest: Manifest = JSON.parse(readFileSync(join(target, 'package.json'), 'utf8'));
    for (const [dependency, range] of Object.entries(manifest.dependencies ?? {})) {
      if (/^(workspace|catalog|file|link):/.test(range)) {
        findings.push(`${name} is published with ${dependency}@${range}`);
      }
      const internal = homes.get(dependency);
      const installed = join(source.directory, 'node_modules', dependency);
      link(internal === undefined ? installed : join(internal, dependency), home, dependency);
      if (internal === undefined) link(installed, projectModules, dependency);
    }
    link(target, projectModules, name);
  }
  link(join(root, 'node_modules/@types/node'), projectModules, '@types/node');
  return findings;
}

/** Links `directory/name` to `target`, unless it exists. */
function link(target: string, directory: string, name: string): void {
  const path = join(directory, name);
  if (existsSync(path)) return;
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(target, path, 'junction');
}

function loadingProgram(names: readonly string[]): string {
  const lines = names.flatMap((name, n) => [
    `import * as package${n} from '${name}';`,
    `if (Object.keys(package${n}).length === 0) throw new Error('${name} exports nothing');`,
  ]);
  return `${lines.join('\n')}\n`;
}

/** `require` of an ES module works as long as nothing in its graph awaits at the top level. */
function requiringProgram(names: readonly string[]): string {
  const lines = names.map(
    (name) =>
      `if (Object.keys(require('${name}')).length === 0) throw new Error('${name} exports nothing');`,
  );
  return `${lines.join('\n')}\n`;
}

/** The first block of TypeScript of a document, where there is one. */
function firstExample(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  return /^```ts\n(.*?)^```$/ms.exec(readFileSync(path, 'utf8'))?.[1];
}
