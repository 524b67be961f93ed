/** One etcd process, with what tests do to it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, openSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { missing } from './program.ts';

const HEALTHY_WITHIN_MS = 30_000;
const STOPPED_WITHIN_MS = 10_000;
const POLL_MS = 25;

export interface EtcdMember {
  /** Throws while the process does not run. */
  readonly pid: number;
  readonly endpoint: string;
  readonly isRunning: boolean;
  /** SIGKILL; resolves once the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM, and SIGKILL where that does not do; resolves once the process is gone. */
  stop(): Promise<void>;
  /** SIGSTOP: it answers nothing, and its connections stay open. */
  pause(): void;
  /** SIGCONT */
  resume(): void;
  /**
   * Starts it again over its data, after a kill if it runs. Resolves once it is healthy; where the
   * members that run are no majority, once it was started.
   */
  restart(): Promise<void>;
}

export interface MemberOptions {
  readonly directory: string;
  readonly endpoint: string;
  /** Answers `/health` in the clear, whatever clients need. */
  readonly metricsUrl: string;
  readonly flags: readonly string[];
  readonly hasMajority: () => boolean;
}

/** Processes of this one that run; ended with it. */
const running = new Set<ChildProcess>();

function killAll(): void {
  for (const child of running) child.kill('SIGKILL');
}

export class Member implements EtcdMember {
  readonly endpoint: string;
  readonly #options: MemberOptions;
  readonly #logPath: string;
  #child: ChildProcess | undefined;
  #paused = false;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.endpoint = options.endpoint;
    this.#logPath = join(options.directory, 'etcd.log');
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`the member at ${this.endpoint} does not run`);
    return pid;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && !this.#paused;
  }

  start(): void {
    const { directory, flags } = this.#options;
    const log = openSync(this.#logPath, 'a');
    const [command, ...args] = commandLine(['--data-dir', join(directory, 'data'), ...flags]);
    const child = spawn(command, args, { stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    if (running.size === 0) process.on('exit', killAll);
    running.add(child);
    this.#child = child;
    this.#paused = false;
    const forget = (): void => {
      running.delete(child);
      if (running.size === 0) process.off('exit', killAll);
      if (this.#child === child) this.#child = undefined;
    };
    child.once('exit', forget);
    child.once('error', forget);
    // A test that forgets its cluster still ends, and takes the cluster with it.
    child.unref();
  }

  /** @throws where it exits, or is not healthy in time; the message has the ends of its log. */
  async healthy(): Promise<void> {
    const deadline = performance.now() + HEALTHY_WITHIN_MS;
    while (!(await this.#isHealthy())) {
      if (this.#child === undefined || performance.now() > deadline) {
        const found = this.#child === undefined ? 'it exited' : `it is not, after long`;
        throw new Error(`expected etcd to become healthy, and ${found}: ${this.#logEnds()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  stop(): Promise<void> {
    return this.#end('SIGTERM');
  }

  pause(): void {
    process.kill(this.pid, 'SIGSTOP');
    this.#paused = true;
  }

  resume(): void {
    process.kill(this.pid, 'SIGCONT');
    this.#paused = false;
  }

  async restart(): Promise<void> {
    await this.kill();
    this.start();
    if (this.#options.hasMajority()) await this.healthy();
  }

  #logEnds(): string {
    const lines = readFileSync(this.#logPath, 'utf8').trimEnd().split('\n');
    return (lines.length <= 10 ? lines : [...lines.slice(0, 2), '...', ...lines.slice(-8)]).join(
      '\n',
    );
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    const insist = setTimeout(() => child.kill('SIGKILL'), STOPPED_WITHIN_MS);
    await exited;
    clearTimeout(insist);
  }

  async #isHealthy(): Promise<boolean> {
    try {
      const signal = AbortSignal.timeout(3_000);
      const response = await fetch(`${this.#options.metricsUrl}/health`, { signal });
      return response.ok && /"health":\s*"true"/.test(await response.text());
    } catch {
      return false;
    }
  }
}

/** A process that is killed runs no exit handler: where setpriv exists, the kernel ends etcd. */
function commandLine(args: readonly string[]): [string, ...string[]] {
  if (!isOnPath('etcd')) throw missing('etcd');
  if (process.platform !== 'linux' || !isOnPath('setpriv')) return ['etcd', ...args];
  return ['setpriv', '--pdeathsig', 'KILL', 'etcd', ...args];
}

function isOnPath(command: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK);
      return directory !== '';
    } catch {
      return false;
    }
  });
}
