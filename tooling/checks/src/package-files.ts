/** What lies in the folders of packages: documents, licence, sizes, and what the build left. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { filesBelow, publishedPackages, type Workspace } from './workspace.ts';

const LINES_MAX = 500;

/** Source files that may be longer, and why. */
const longFiles: Readonly<Record<string, string>> = {};

/** Every published package says what it is, how it is used, and under which licence. */
export function checkManifests(workspace: Workspace): string[] {
  const findings: string[] = [];
  if (!existsSync(join(workspace.root, 'LICENSE'))) findings.push('LICENSE is missing');
  for (const { manifest, directory } of workspace.packages) {
    if (manifest.license !== 'Apache-2.0') {
      findings.push(
        `${manifest.name}: expected "license": "Apache-2.0", found ${manifest.license}`,
      );
    }
    const readme = join(directory, 'README.md');
    if (manifest.private === true) continue;
    if (!existsSync(readme)) findings.push(`${manifest.name} has no README.md`);
    else if (!/^```(ts|js|sh)/m.test(readFileSync(readme, 'utf8'))) {
      findings.push(`${manifest.name}: README.md shows no example`);
    }
  }
  return findings;
}

export function checkFileLengths(workspace: Workspace): string[] {
  const findings: string[] = [];
  const long = new Set<string>();
  for (const { name, text } of workspace.packages.flatMap(({ sources }) => sources)) {
    const lines = text.trimEnd().split('\n').length;
    if (lines <= LINES_MAX) continue;
    long.add(name);
    if (longFiles[name] === undefined) {
      findings.push(`${name} has ${lines} lines: split it, or list it with a reason`);
    }
  }
  for (const name of Object.keys(longFiles)) {
    if (!long.has(name)) findings.push(`${name} is listed as long, and is not`);
  }
  return findings;
}

/** The compiler never removes the output of a source that is gone. */
export function checkStaleOutputs(workspace: Workspace): string[] {
  return publishedPackages(workspace).flatMap(({ directory, manifest }) => {
    const outputs = filesBelow(join(directory, 'dist')).filter((path) => path.endsWith('.js'));
    if (outputs.length === 0) return [`${manifest.name} is not built: run pnpm run build`];
    return outputs
      .filter((path) => !existsSync(join(directory, 'src', path.replace(/\.js$/, '.ts'))))
      .map((path) => `${manifest.name}: dist/${path} has no source: delete dist and build again`);
  });
}
