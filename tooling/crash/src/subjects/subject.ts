/** A program of the rigs together with what it starts from and the check of what it leaves. */
import { fileURLToPath } from 'node:url';
import type { ProgramOptions } from '../children/say.ts';
import type { Told } from '../children/told.ts';

export type Command = readonly [program: string, ...args: string[]];

export interface Subject {
  readonly name: string;
  /** Makes what the program starts from, once; each run has a copy. */
  prepare(directory: string): Promise<void>;
  command(directory: string, plant?: string): Command;
  /** What is wrong with what a run has left, given what it told; empty where nothing is. */
  problems(directory: string, told: Told): Promise<readonly string[]>;
  /** For a program that does not end by itself: who talks to it, and what came of that. */
  driver?(plant: string | undefined): Driver;
  /** Bugs that it can be given, and by which fault each is caught. */
  readonly plants: Readonly<Record<string, 'kill' | 'error'>>;
  /**
   * Whether an acknowledgement may come after a flush of this path, from the directory on, has
   * failed: nothing that is acknowledged stands there.
   */
  mayGoOnAfter(path: string): boolean;
}

export interface Driver {
  /** Resolves once the program has ended, or is about to. */
  drive(process: RunningProgram): Promise<void>;
  told(end: ProgramEnd): Told;
}

export interface RunningProgram {
  /** All that it has written so far. */
  output(): string;
  readonly hasEnded: boolean;
  terminate(): void;
}

export interface ProgramEnd {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

/** The command line of a program in `children`. */
export function childCommand<Options extends ProgramOptions>(
  name: 'sidecar' | 'log' | 'store' | 'install',
  options: Options,
): Command {
  const program = fileURLToPath(import.meta.resolve(`../children/${name}-process.js`));
  return [process.execPath, program, JSON.stringify(options)];
}

/** What an attempt to open or go on throws is a problem of what was found. */
export async function problemsOf(
  look: () => Promise<readonly string[]>,
): Promise<readonly string[]> {
  try {
    return await look();
  } catch (error) {
    return [`what was left is refused: ${error instanceof Error ? error.message : String(error)}`];
  }
}
