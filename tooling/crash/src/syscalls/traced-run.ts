/** Runs a program under strace, with one fault at one of its system calls. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Command, ProgramEnd, RunningProgram } from '../subjects/subject.ts';
import type { CallSite } from './trace.ts';

export type Fault =
  | { readonly kind: 'none' }
  | { readonly kind: 'kill'; readonly site: CallSite; readonly time: number }
  | {
      readonly kind: 'error';
      readonly site: CallSite;
      readonly time: number;
      readonly errno: string;
    }
  /** No file may become longer: a write that would is shortened, then refused. */
  | { readonly kind: 'file-size'; readonly kibibytes: number };

export interface TracedRun {
  readonly command: Command;
  readonly fault: Fault;
  /** That the paths of call sites are in. */
  readonly directory: string;
  /** For the output of the program and of strace. */
  readonly folder: string;
  /** Talks to a program that does not end by itself, and ends it. */
  readonly drive?: (process: RunningProgram) => Promise<void>;
}

export interface TracedEnd extends ProgramEnd {
  readonly signal: NodeJS.Signals | null;
  /** It did not end by itself, nor by the fault. */
  readonly isLate: boolean;
  readonly trace: string;
}

const TIMEOUT_MS = 30_000;
const ALL_CALLS = '%file,%desc';

export async function tracedRun(run: TracedRun): Promise<TracedEnd> {
  const { command, fault, folder, drive } = run;
  const tracePath = join(folder, 'trace');
  const outPath = join(folder, 'out');
  const settings = ['-D', '-f', '-qq', '-s', '64', '-o', tracePath];
  // It has the rest of the program run faster; a signal is not delivered at its stops.
  if (fault.kind !== 'kill') settings.push('--seccomp-bpf');
  const args = [...settings, ...filters(run, outPath), ...limited(fault, command)];
  // Of a file strace can tell when it is written to; a pipe has no length that is held to a limit.
  const out = fault.kind === 'error' ? openSync(outPath, 'w') : undefined;
  const child = spawn('strace', args, {
    // The last pipe ends with the last process that has it: that of strace, when all is written.
    stdio: ['ignore', out ?? 'pipe', 'pipe', 'pipe'],
    // One thread for the disk: the n-th call is the same call in every run.
    env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
  });
  if (out !== undefined) closeSync(out);
  const piped = gather(child.stdout);
  const errors = gather(child.stderr);
  const output = (): string => (out === undefined ? piped.join('') : readFileSync(outPath, 'utf8'));
  let isLate = false;
  const late = setTimeout(() => {
    isLate = true;
    child.kill('SIGKILL');
  }, TIMEOUT_MS);
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  gather(child.stdio[3] as Readable);
  const running: RunningProgram = {
    output,
    get hasEnded() {
      return child.exitCode !== null || child.signalCode !== null;
    },
    terminate: () => void child.kill('SIGTERM'),
  };
  const [[status, signal]] = await Promise.all([ended, drive?.(running)]);
  clearTimeout(late);
  return {
    status,
    signal,
    isLate,
    output: output(),
    errors: errors.join(''),
    trace: readFileSync(tracePath, 'utf8'),
  };
}

function gather(stream: Readable | null): readonly string[] {
  const chunks: string[] = [];
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk.toString()));
  return chunks;
}

/** Whether the fault happened. */
export function isFaultSeen(fault: Fault, { trace, signal, isLate }: TracedEnd): boolean {
  switch (fault.kind) {
    case 'none':
      return false;
    case 'kill':
      return signal === 'SIGKILL' && !isLate;
    case 'error':
      return trace.includes('(INJECTED)');
    case 'file-size':
      return trace.includes('EFBIG');
  }
}

function filters({ fault, directory }: TracedRun, outPath: string): string[] {
  switch (fault.kind) {
    case 'none':
      return ['-y', '-e', `trace=${ALL_CALLS}`];
    case 'file-size':
      return ['-e', 'trace=write,pwrite64,writev,pwritev,ftruncate,fallocate'];
    case 'kill':
    case 'error': {
      const { call, path } = fault.site;
      const act = fault.kind === 'kill' ? 'signal=KILL' : `error=${fault.errno}`;
      const inject = [
        '-P',
        `${directory}${path}`,
        '-e',
        `inject=${call}:${act}:when=${fault.time}`,
      ];
      // What is told stands in the trace as well, in its order, but is never refused.
      const told =
        call === 'write' ? ['-e', 'trace=write'] : ['-P', outPath, '-e', `trace=${call},write`];
      return [...told, ...inject];
    }
  }
}

function limited(fault: Fault, command: Command): readonly string[] {
  if (fault.kind !== 'file-size') return command;
  // Ignored, so that the call fails instead of ending the process.
  const script = `trap '' XFSZ; ulimit -f ${fault.kibibytes}; exec "$@"`;
  return ['bash', '-c', script, 'bash', ...command];
}
