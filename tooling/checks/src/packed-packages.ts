/** The tarballs that a release would publish, and whether other tools can read them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkPackage, createPackageFromTarballData, type Problem } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { failureOf, runProgram } from './program.ts';
import { type Package, publishedPackages, type Workspace } from './workspace.ts';

export interface PackedPackage {
  readonly source: Package;
  /** Absolute. */
  readonly tarball: string;
}

/**
 * Packs every published package as `pnpm publish` would.
 * @param directory receives the tarballs.
 * @throws Error with pnpm's output.
 */
export async function packPackages(
  workspace: Workspace,
  directory: string,
): Promise<PackedPackage[]> {
  const published = publishedPackages(workspace);
  const filters = published.flatMap(({ manifest }) => ['--filter', manifest.name]);
  const args = ['-r', ...filters, 'pack', '--pack-destination', directory];
  const options = { cwd: workspace.root };
  const [failure] = failureOf('pnpm pack', await runProgram(pnpmCommand(), args, options));
  if (failure !== undefined) throw new Error(failure);
  return published.map((source) => {
    const { name, version } = source.manifest;
    const file = `${name.replace('@', '').replace('/', '-')}-${version}.tgz`;
    return { source, tarball: join(directory, file) };
  });
}

/** The pnpm that runs this script, or the one on PATH. */
function pnpmCommand(): string {
  const command = process.env.npm_execpath;
  return command !== undefined && /pnpm(\.exe)?$/.test(command) ? command : 'pnpm';
}

/** Each tarball has what its manifest points to, and no more. */
export async function checkTarballs(packed: readonly PackedPackage[]): Promise<string[]> {
  const findings: string[] = [];
  for (const { source, tarball } of packed) {
    const { name } = source.manifest;
    const bytes = readFileSync(tarball);
    const files = createPackageFromTarballData(bytes).listFiles();
    const has = (path: string): boolean => files.some((file) => file.endsWith(`${name}/${path}`));
    for (const path of ['LICENSE', 'README.md', 'dist/index.d.ts']) {
      if (!has(path)) findings.push(`${name}: the tarball has no ${path}`);
    }
    for (const file of files) {
      if (/\.tsbuildinfo$|\/test\//.test(file)) findings.push(`${name}: the tarball has ${file}`);
    }
    const { messages, pkg } = await publint({
      pack: { tarball: Uint8Array.from(bytes).buffer },
      strict: true,
    });
    for (const message of messages) {
      findings.push(`${name}: publint: ${formatMessage(message, pkg, { color: false })}`);
    }
  }
  return findings;
}

/** Types resolve for CommonJS and ES modules under TypeScript's node16 and bundler rules. */
export async function checkPackedTypes(packed: readonly PackedPackage[]): Promise<string[]> {
  const findings: string[] = [];
  for (const { source, tarball } of packed) {
    const analysis = await checkPackage(createPackageFromTarballData(readFileSync(tarball)));
    const problems = analysis.types === false ? [] : analysis.problems.filter(isProblem);
    if (analysis.types === false) findings.push(`${source.manifest.name} has no types`);
    for (const problem of problems) {
      findings.push(`${source.manifest.name}: ${JSON.stringify(problem)}`);
    }
  }
  return findings;
}

function isProblem(problem: Problem): boolean {
  // Packages are ES modules; every supported Node.js requires them (checked by the consumer).
  if (problem.kind === 'CJSResolvesToESM') return false;
  // Node 10 knows no exports.
  return !('resolutionKind' in problem && problem.resolutionKind === 'node10');
}
