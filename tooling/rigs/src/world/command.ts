/** Runs a program to its end, within a time. */
import { execFile } from 'node:child_process';
import type { CommandLine } from './host.ts';

const TIMEOUT_MS_DEFAULT = 20_000;
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

export interface CommandOptions {
  /** What the program reads. */
  readonly input?: string;
  readonly timeoutMs?: number;
  /** Variables that it has besides those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A program that ended with another status than 0, or was ended. */
export class CommandFailure extends Error {
  /** `RAFTSEAL_...`; undefined where it named none. */
  readonly code: string | undefined;

  constructor([program, ...args]: CommandLine, output: string) {
    super(`${program} ${args.join(' ')} failed: ${output}`);
    this.code = /^raftseal: (RAFTSEAL_\w+):/m.exec(output)?.[1];
  }
}

/** @returns its standard output @throws {@link CommandFailure} */
export function runCommand(
  command: CommandLine,
  { input, timeoutMs = TIMEOUT_MS_DEFAULT, environment }: CommandOptions = {},
): Promise<string> {
  const [program, ...args] = command;
  return new Promise((resolve, reject) => {
    const options = {
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: OUTPUT_BYTES_MAX,
      env: { ...process.env, ...environment },
    } as const;
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new CommandFailure(command, stderr || stdout || error.message));
    });
    child.stdin?.on('error', () => undefined).end(input ?? '');
  });
}
