/**
 * What the programs of the rigs tell on their standard output, one line each, before they go on:
 *
 * - `started <what>`: this may be done from here on;
 * - `acknowledged <what>`: this was promised to be durable;
 * - `failed <code>`: what was begun ended with an error; `-` where it has no code;
 * - `refused <code>`: the same, where an error of the file system is an answer that is documented;
 * - `done`: the program ends as it is to.
 */
import { readSync, writeSync } from 'node:fs';
import { codeOf } from '@raftseal/interface';
import { type CutPlan, Cutter } from './cut-plan.ts';

export interface ProgramOptions {
  readonly directory: string;
  /**
   * Bugs that every program can be given: `early` acknowledges before the deed, `swallow` acknowledges
   * what failed. The rigs must catch them.
   */
  readonly plant?: string | undefined;
  readonly cut?: CutPlan;
  /** Nothing is begun before a byte comes on standard input. */
  readonly waits?: boolean;
}

export function say(line: string): void {
  writeSync(1, `${line}\n`);
}

/** What a program was told to do, as JSON in its one argument. */
export function programOptions<Options extends ProgramOptions>(): Options {
  const options = JSON.parse(process.argv[2] ?? '{}') as Options;
  if (options.waits) readSync(0, Buffer.alloc(1));
  return options;
}

/** Tells of each deed of a program. */
export class Teller {
  readonly #plant: string | undefined;
  readonly #cutter: Cutter;

  constructor({ plant, cut }: ProgramOptions) {
    this.#plant = plant;
    this.#cutter = new Cutter(cut);
  }

  /** Does something that is acknowledged by a name. @throws what it throws, after it was told */
  async tell<Result>(what: string, deed: () => Promise<Result>): Promise<Result> {
    say(`started ${what}`);
    const acknowledge = (): void => this.#cutter.acknowledged(() => say(`acknowledged ${what}`));
    if (this.#plant === 'early') acknowledge();
    let result: Result;
    try {
      result = await deed();
    } catch (error) {
      if (this.#plant === 'swallow') acknowledge();
      else say(`failed ${codeOf(error) ?? '-'}`);
      throw error;
    }
    if (this.#plant !== 'early') acknowledge();
    return result;
  }
}

/**
 * Runs a program to its end. An error that nobody told of is told here; what the program is to do
 * after one is `afterFailure`, whose own errors are told and end nothing.
 */
export async function runProgram(
  body: () => Promise<void>,
  afterFailure: () => Promise<void> = async () => undefined,
): Promise<void> {
  try {
    await body();
    say('done');
  } catch (error) {
    say(`failed ${codeOf(error) ?? '-'}`);
    await afterFailure().catch((again: unknown) => say(`failed ${codeOf(again) ?? '-'}`));
    process.exitCode = 3;
  }
}
