/** Test programs that run in processes of their own: bundled once, run by plain Node. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { afterAll, beforeAll } from 'vitest';

const source = new URL('../src/main.ts', import.meta.url).href;
const requireFromSource = `const require = nodeModule.createRequire(${JSON.stringify(source)});`;

export interface ChildProgram {
  start(args: readonly string[]): Child;
}

export interface Child {
  readonly pid: number;
  /** The next line it prints; undefined once it has ended. */
  line(): Promise<string | undefined>;
  send(line: string): void;
  kill(): void;
  /** Resolves to the exit code, null where a signal ended it. */
  readonly ended: Promise<number | null>;
}

/**
 * Bundles `<name>.ts` of this folder before the tests of the file that calls this. Native modules
 * stay outside of the bundle, which therefore lies within this package.
 */
export function childProgram(name: string): ChildProgram {
  const directory = join(import.meta.dirname, '..', 'node_modules', '.cache', 'test');
  const outfile = join(directory, `${name}-${process.pid}.mjs`);
  const children: ChildProcess[] = [];
  beforeAll(async () => {
    await mkdir(directory, { recursive: true });
    await build({
      entryPoints: [join(import.meta.dirname, `${name}.ts`)],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      external: ['lmdb'],
      // What is read beside the sources of the node is found from the bundle too.
      define: { 'import.meta.url': JSON.stringify(source) },
      // CommonJS modules require what comes with Node.
      banner: { js: `import * as nodeModule from 'node:module';\n${requireFromSource}` },
      conditions: ['@raftseal/source'],
      logLevel: 'error',
    });
  });
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await rm(outfile, { force: true });
  });
  return {
    start: (args) => {
      const child = spawn(process.execPath, [outfile, ...args], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      children.push(child);
      return watched(child);
    },
  };
}

function watched(child: ChildProcess): Child {
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new Error('a child has pipes');
  const lines = createInterface(stdout)[Symbol.asyncIterator]();
  return {
    pid: child.pid ?? 0,
    line: async () => (await lines.next()).value,
    send: (line) => stdin.write(`${line}\n`),
    kill: () => child.kill('SIGKILL'),
    ended: new Promise((resolve) => child.once('close', resolve)),
  };
}
