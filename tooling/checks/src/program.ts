/** Runs a program to its end, within a bound on its time, and keeps what it printed. */
import { spawn } from 'node:child_process';

const TIMEOUT_MS = 120_000;

export interface ProgramResult {
  /** -1 where a signal ended it, as when it ran for too long. */
  readonly exitCode: number;
  /** Standard output and error, as they came. */
  readonly output: string;
}

/** @throws Error where the program cannot be started. */
export function runProgram(
  command: string,
  args: readonly string[],
  options: { readonly cwd: string },
): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...options,
      // pnpm sets it for the programs it starts: packages then find what they do not declare.
      env: { ...process.env, NODE_PATH: '' },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    const chunks: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    }
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ exitCode: code ?? -1, output: Buffer.concat(chunks).toString('utf8') });
    });
  });
}

/** One finding with the program's output where it failed, else none. */
export function failureOf(name: string, { exitCode, output }: ProgramResult): string[] {
  return exitCode === 0 ? [] : [`${name} ended with exit code ${exitCode}:\n${output.trim()}`];
}
