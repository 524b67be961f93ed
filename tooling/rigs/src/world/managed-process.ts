/** A server as a process, with what a fault does to it. Its output goes to a file. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import type { CommandLine, Host } from './host.ts';

export interface ProcessOptions {
  readonly name: string;
  readonly host: Host;
  readonly command: CommandLine;
  readonly logPath: string;
  /** Variables that it has besides those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
}

export type ProcessState = 'running' | 'paused' | 'ended';

const STOPPED_WITHIN_MS = 15_000;

const running: Set<ChildProcess> = new Set();

/** Ends what this process started and has not ended itself. */
function killAll(): void {
  for (const child of running) child.kill('SIGKILL');
}

export class ManagedProcess {
  readonly name: string;
  readonly host: Host;
  readonly #options: ProcessOptions;
  #command: CommandLine;
  #child: ChildProcess | undefined;
  #exited: Promise<number | null> = Promise.resolve(null);
  #state: ProcessState = 'ended';
  #stateSinceMs = performance.now();
  #isExitExpected = false;
  #unexpectedExit: string | undefined;

  constructor(options: ProcessOptions) {
    this.name = options.name;
    this.host = options.host;
    this.#options = options;
    this.#command = options.command;
  }

  get state(): ProcessState {
    return this.#state;
  }

  /** When it came into its state, by `performance.now()`. */
  get stateSinceMs(): number {
    return this.#stateSinceMs;
  }

  /** How it ended by itself, which no server should. */
  get unexpectedExit(): string | undefined {
    return this.#unexpectedExit;
  }

  /** Takes an end that the caller expects of it for no problem. @returns what it was */
  excuseExit(): string | undefined {
    const exit = this.#unexpectedExit;
    this.#unexpectedExit = undefined;
    return exit;
  }

  /** The command line from its next start on. */
  useCommand(command: CommandLine): void {
    this.#command = command;
  }

  start(): void {
    if (this.#state !== 'ended') throw new Error(`${this.name} runs already`);
    const { host, logPath, environment } = this.#options;
    const log = openSync(logPath, 'a');
    const [program, ...args] = host.on(boundToParent(this.#command));
    const env = { ...process.env, ...environment };
    const child = spawn(program, args, { stdio: ['ignore', log, log], detached: true, env });
    closeSync(log);
    if (running.size === 0) process.once('exit', killAll);
    running.add(child);
    this.#child = child;
    this.#become('running');
    this.#isExitExpected = false;
    this.#exited = new Promise((resolve) => {
      const onEnd = (how: string, code: number | null): void => {
        running.delete(child);
        if (this.#child !== child) return;
        this.#child = undefined;
        this.#become('ended');
        if (!this.#isExitExpected) this.#unexpectedExit = `${this.name} ended by itself: ${how}`;
        resolve(code);
      };
      child.once('error', (error) => onEnd(error.message, null));
      child.once('exit', (code, signal) => onEnd(signal ?? `exit code ${code}`, code));
    });
  }

  /** SIGKILL; resolves once the process is gone. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** SIGTERM, and SIGKILL where it takes long; resolves to the exit code. */
  stop(): Promise<number | null> {
    if (this.#state === 'paused') this.resume();
    return this.#end('SIGTERM');
  }

  /** SIGSTOP: it answers nothing, and its connections stay open. */
  pause(): void {
    if (this.#state !== 'running') return;
    this.#child?.kill('SIGSTOP');
    this.#become('paused');
  }

  resume(): void {
    if (this.#state !== 'paused') return;
    this.#child?.kill('SIGCONT');
    this.#become('running');
  }

  /** Everything it has written so far, over all its starts. */
  output(): string {
    return readFileSync(this.#options.logPath, 'utf8');
  }

  #become(state: ProcessState): void {
    this.#state = state;
    this.#stateSinceMs = performance.now();
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === undefined) return null;
    this.#isExitExpected = true;
    child.kill(signal);
    const insist = setTimeout(() => child.kill('SIGKILL'), STOPPED_WITHIN_MS);
    const code = await this.#exited;
    clearTimeout(insist);
    return code;
  }
}

/** A process that is killed ends nothing itself: where setpriv exists, the kernel does it. */
function boundToParent(command: CommandLine): CommandLine {
  return hasSetpriv() ? ['setpriv', '--pdeathsig', 'KILL', ...command] : command;
}

let setprivFound: boolean | undefined;

function hasSetpriv(): boolean {
  setprivFound ??= spawnSync('setpriv', ['--version'], { stdio: 'ignore' }).status === 0;
  return setprivFound;
}
