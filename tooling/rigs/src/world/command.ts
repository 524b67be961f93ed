/** Runs a program to its end, within a time. */
import { execFile } from 'node:child_process';
import type { CommandLine } from './host.ts';

const TIMEOUT_MS_DEFAULT = 20_000;
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

export interface CommandOptions {
  /** What the program reads. */
  readonly input?: string;
  readonly timeoutMs?: number;
}

/** @returns its standard output */
export function runCommand(
  [program, ...args]: CommandLine,
  { input, timeoutMs = TIMEOUT_MS_DEFAULT }: CommandOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: OUTPUT_BYTES_MAX,
    } as const;
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${program} ${args.join(' ')} failed: ${stderr || error.message}`));
    });
    child.stdin?.on('error', () => undefined).end(input ?? '');
  });
}
