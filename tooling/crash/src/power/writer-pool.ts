/** Programs of the rigs that are started ahead of need, and wait for their turn. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readTold, type Told } from '../children/told.ts';
import type { Command } from '../subjects/subject.ts';

export interface WriterEnd {
  readonly told: Told;
  readonly signal: NodeJS.Signals | null;
  readonly errors: string;
}

const TIMEOUT_MS = 20_000;

/** A program whose options say that it waits. */
export class Writer {
  readonly #child: ChildProcess;
  readonly #output: string[] = [];
  readonly #errors: string[] = [];

  constructor([program, ...args]: Command) {
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdout?.on('data', (bytes: Buffer) => this.#output.push(bytes.toString()));
    this.#child.stderr?.on('data', (bytes: Buffer) => this.#errors.push(bytes.toString()));
    this.#child.stdin?.on('error', () => undefined);
  }

  /** Lets it begin. @param killAfterMs of its first line of output @returns how it ended */
  async run(killAfterMs?: number): Promise<WriterEnd> {
    const kill = (): boolean => this.#child.kill('SIGKILL');
    const late = setTimeout(kill, TIMEOUT_MS);
    if (killAfterMs !== undefined) {
      this.#child.stdout?.once('data', () => setTimeout(kill, killAfterMs));
    }
    this.#child.stdin?.end('.');
    const [, signal] = (await once(this.#child, 'close')) as [unknown, NodeJS.Signals | null];
    clearTimeout(late);
    return { told: readTold(this.#output.join('')), signal, errors: this.#errors.join('') };
  }

  discard(): void {
    this.#child.kill('SIGKILL');
  }
}
