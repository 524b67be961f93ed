/** Programs of the tests, bundled to be run in a process of their own. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
/** Beside the package's modules, so that the program finds lmdb. */
const programs = join(here, '..', '..', 'node_modules', '.cache');

export interface Program {
  readonly path: string;
  remove(): void;
}

/** @param name of a file in this directory. */
export async function bundle(name: string): Promise<Program> {
  mkdirSync(programs, { recursive: true });
  const directory = mkdtempSync(join(programs, 'program-'));
  const path = join(directory, 'program.mjs');
  await build({
    entryPoints: [join(here, name)],
    outfile: path,
    bundle: true,
    platform: 'node',
    format: 'esm',
    conditions: ['@raftseal/source'],
    external: ['lmdb'],
    logLevel: 'error',
  });
  return { path, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

/**
 * Runs a command to its end.
 * @param killAfterMs kills it so long after its first line.
 * @returns its lines.
 */
export function run(command: readonly string[], killAfterMs?: number): Promise<readonly string[]> {
  const [file = '', ...rest] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(file, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (bytes: Buffer) => {
      if (output === '' && killAfterMs !== undefined) {
        setTimeout(() => child.kill('SIGKILL'), killAfterMs);
      }
      output += bytes.toString();
    });
    child.on('error', reject);
    child.on('close', () => resolve(output.split('\n').slice(0, -1)));
  });
}
