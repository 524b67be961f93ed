/** `kill -9` of a program that appends to a log, at any moment, over one directory that grows old. */
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '@raftseal/rigs/random';
import { type ScenarioResult, Tally } from '../world/report.ts';
import { keptDirectory } from '../world/sandbox.ts';
import type { CutWriter } from './program-cuts.ts';
import { Writer } from './writer-pool.ts';

const KILLED_WITHIN_MS = 40;
const KILLS_PER_DIRECTORY = 100;

export interface ProgramKillsOptions {
  readonly writer: CutWriter;
  readonly scratch: string;
  readonly kills: number;
  readonly seed: number;
  readonly plant?: string | undefined;
  readonly print: (line: string) => void;
}

export async function programKills(options: ProgramKillsOptions): Promise<ScenarioResult> {
  const { writer, scratch, kills, plant, print } = options;
  const label = [`${writer.name}, kill -9`, plant].filter(Boolean).join(': ');
  const tally = new Tally(label, plant !== undefined);
  const random = new Random(options.seed, label);
  const directory = join(scratch, `${writer.name}-kills`);
  const next = (): Writer => new Writer(writer.command(directory, undefined, plant));
  let ready = next();
  for (let kill = 0; kill < kills && !(plant !== undefined && tally.violationCount > 0); kill++) {
    if (kill % KILLS_PER_DIRECTORY === 0) renew(directory);
    const before = await writer.before(directory);
    const ended = ready.run(random.below(KILLED_WITHIN_MS));
    ready = next();
    const { told, signal } = await ended;
    if (signal !== 'SIGKILL') {
      tally.void();
      continue;
    }
    const problems = await writer.problems(directory, told, before);
    const text = `kill ${kill}: ${problems.join('; ')}`;
    if (problems.length > 0 && plant === undefined) {
      const kept = keptDirectory();
      cpSync(directory, kept, { recursive: true });
      print(`VIOLATION ${label}: ${text}; kept in ${kept}`);
    }
    tally.run('kill', problems.length > 0 ? [text] : []);
    if (problems.length > 0) renew(directory);
  }
  ready.discard();
  rmSync(directory, { recursive: true, force: true });
  return tally.result();
}

function renew(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true, mode: 0o700 });
}
