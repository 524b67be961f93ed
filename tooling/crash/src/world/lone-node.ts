/** A node that is alone, as the `raftseal` command runs it, and what is asked of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from '../subjects/subject.ts';

export interface NodePorts {
  readonly redis: number;
  readonly admin: number;
}

export interface LoneNodeOptions {
  readonly directory: string;
  /** Of the KEK and of the output: not on the disk that fails. */
  readonly folder: string;
  /** Put before the program: options of Node. */
  readonly nodeOptions?: readonly string[];
}

const SHARDS = 2;
const STARTED_WITHIN_MS = 30_000;
const STOPPED_WITHIN_MS = 20_000;
const POLL_MS = 10;

/** The command line of a node over a data directory; its KEK is made where there is none. */
export function nodeCommand({ directory, folder, nodeOptions = [] }: LoneNodeOptions): Command {
  const kekPath = join(folder, 'kek');
  if (!existsSync(kekPath)) writeFileSync(kekPath, randomBytes(32), { mode: 0o600 });
  const program = join(dirname(fileURLToPath(import.meta.resolve('@raftseal/server'))), 'main.js');
  const start = [program, 'start', '--data', directory, '--kek', `file:${kekPath}`];
  const flags = ['--shards', `${SHARDS}`, '--port', '0', '--admin-port', '0'];
  return [process.execPath, ...nodeOptions, ...start, ...flags];
}

/** Where a node listens, once it has written so. */
export function portsIn(output: string): NodePorts | undefined {
  const line = output.split('\n').findLast((text) => text.includes('"ready: '));
  return line === undefined ? undefined : (JSON.parse(line) as NodePorts);
}

export class LoneNode {
  readonly #options: LoneNodeOptions;
  readonly #outputPath: string;
  #child: ChildProcess | undefined;
  #exited: Promise<unknown> = Promise.resolve();

  constructor(options: LoneNodeOptions) {
    this.#options = options;
    this.#outputPath = join(options.folder, 'node.log');
  }

  get hasEnded(): boolean {
    return this.#child === undefined;
  }

  /** @throws where it does not get ready; what it said is in the message */
  async start(): Promise<NodePorts> {
    const output = openSync(this.#outputPath, 'w');
    const [program, ...args] = nodeCommand(this.#options);
    const child = spawn(program, args, { stdio: ['ignore', output, output] });
    closeSync(output);
    this.#child = child;
    this.#exited = once(child, 'exit').finally(() => {
      if (this.#child === child) this.#child = undefined;
    });
    const until = performance.now() + STARTED_WITHIN_MS;
    while (!this.hasEnded && performance.now() < until) {
      const ports = portsIn(this.output());
      if (ports !== undefined) return ports;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    await this.kill();
    throw new Error(`the node does not start: ${this.output().slice(-2_000)}`);
  }

  output(): string {
    return readFileSync(this.#outputPath, 'utf8');
  }

  /** SIGKILL; resolves once the process is gone. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exited;
  }

  /** SIGTERM. @returns false where it had to be killed */
  async stop(): Promise<boolean> {
    let isWilling = true;
    const insist = setTimeout(() => {
      isWilling = false;
      this.#child?.kill('SIGKILL');
    }, STOPPED_WITHIN_MS);
    this.#child?.kill('SIGTERM');
    await this.#exited;
    clearTimeout(insist);
    return isWilling;
  }
}

/** What `raftseal verify` finds wrong with a node that runs. */
export async function verifyProblems(
  directory: string,
  { admin }: NodePorts,
): Promise<readonly string[]> {
  const token = readFileSync(join(directory, 'admin.token'), 'utf8').trim();
  const response = await fetch(`http://127.0.0.1:${admin}/v1/verify`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(STARTED_WITHIN_MS),
  });
  const text = await response.text();
  if (!response.ok) return [`verify answered ${response.status}: ${text}`];
  const report = JSON.parse(text) as { clean: boolean; problems: readonly string[] };
  return report.clean ? [] : [`verify found: ${report.problems.join('; ') || text}`];
}
