/**
 * `node dist/main.js [--report file] [name...]`: runs the named checks, or all of them, over the
 * built repository. Exit code 1 where one fails; the report is JSON:
 * `{ passed: number, failures: string[] }`.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { checkConsumer } from './consumer.ts';
import { checkDependenciesDocument } from './dependencies-document.ts';
import { checkErrorCodes, checkErrorsDocument } from './error-codes.ts';
import { checkImportCycles } from './import-cycles.ts';
import { checkImportDirections } from './import-directions.ts';
import { checkInvariants } from './invariants.ts';
import { checkFileLengths, checkManifests, checkStaleOutputs } from './package-files.ts';
import {
  checkPackedTypes,
  checkTarballs,
  type PackedPackage,
  packPackages,
} from './packed-packages.ts';
import { repositoryRoot } from './repository-root.ts';
import { checkUnused } from './unused.ts';
import { readWorkspace } from './workspace.ts';

const { values, positionals } = parseArgs({
  options: { report: { type: 'string' } },
  allowPositionals: true,
});

const workspace = readWorkspace(repositoryRoot);
const scratch = mkdtempSync(join(tmpdir(), 'raftseal-checks-'));
let packing: Promise<PackedPackage[]> | undefined;

function scratchDirectory(name: string): string {
  const directory = join(scratch, name);
  mkdirSync(directory);
  return directory;
}

function packed(): Promise<PackedPackage[]> {
  packing ??= packPackages(workspace, scratchDirectory('tarballs'));
  return packing;
}

/** Each gives its findings; none is a pass. */
const checks: Readonly<Record<string, () => string[] | Promise<string[]>>> = {
  'import directions': () => checkImportDirections(workspace),
  'import cycles': () => checkImportCycles(workspace),
  'error codes': () => checkErrorCodes(workspace),
  'errors document': () => checkErrorsDocument(workspace),
  'dependencies document': () => checkDependenciesDocument(workspace),
  invariants: () => checkInvariants(workspace),
  manifests: () => checkManifests(workspace),
  'file lengths': () => checkFileLengths(workspace),
  'stale outputs': () => checkStaleOutputs(workspace),
  unused: () => checkUnused(workspace),
  tarballs: async () => checkTarballs(await packed()),
  'packed types': async () => checkPackedTypes(await packed()),
  consumer: async () => checkConsumer(repositoryRoot, await packed(), scratchDirectory('consumer')),
};

const unknown = positionals.filter((name) => checks[name] === undefined);
if (unknown.length > 0) {
  throw new RangeError(`no check ${unknown.join()}: there are ${Object.keys(checks).join(', ')}`);
}

const failures: string[] = [];
let passed = 0;
try {
  for (const [name, check] of Object.entries(checks)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    const startedMs = Date.now();
    const findings = await Promise.resolve()
      .then(check)
      .catch((error: unknown) => [String(error)]);
    const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
    console.log(`${findings.length === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
    for (const finding of findings) console.log(`         ${finding.replaceAll('\n', '\n    ')}`);
    if (findings.length === 0) passed += 1;
    else failures.push(name);
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
if (values.report !== undefined) {
  writeFileSync(values.report, JSON.stringify({ passed, failures }));
}
process.exitCode = failures.length === 0 ? 0 : 1;
