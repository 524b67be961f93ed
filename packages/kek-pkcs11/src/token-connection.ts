/**
 * A token process as its parent sees it. The module of a token's maker runs in a process of its
 * own, because a call into it cannot be ended: one that hangs would hang with it whatever waits
 * for the thread, the end of the process included, and one that crashes would crash the node. The
 * process is killed instead.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { RaftsealError } from '@raftseal/interface';
import type { NumberedOutcome, NumberedRequest, TokenOutcome, TokenRequest } from './messages.ts';
import type { TokenOptions } from './token/token.ts';

/** Node.js runs the built program, from the sources as well. */
const program = fileURLToPath(new URL('../dist/token-process.js', import.meta.url));

/** More than the process takes to close the token by itself. */
const EXIT_TIMEOUT_MS = 2_000;

interface Waiting {
  readonly resolve: (outcome: TokenOutcome) => void;
  readonly reject: (error: RaftsealError) => void;
}

export interface ConnectionOptions extends TokenOptions {
  readonly openTimeoutMs: number;
}

export class TokenConnection {
  /** Resolves once the token is open. */
  readonly opened: Promise<void>;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #waiting = new Map<number, Waiting>();
  #requests = 0;
  #ended: RaftsealError | undefined;

  constructor({ openTimeoutMs, ...options }: ConnectionOptions) {
    this.#child = fork(program, [], {
      execArgv: [],
      env: environment(),
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.#end(`a token process that ended with ${signal ?? `exit code ${code}`}`);
        resolve();
      });
      this.#child.once('error', (error) => {
        this.#end(`that it cannot be started or reached (${error.message})`);
        if (this.#child.pid === undefined) resolve();
      });
    });
    this.#child.on('message', (message: NumberedOutcome) => this.#settle(message));
    // The timer of a call keeps the program running meanwhile; an idle token does not.
    this.#child.unref();
    this.#child.channel?.unref();
    this.opened = this.ask({ kind: 'open', options }, openTimeoutMs).then(
      () => undefined,
      (error: unknown) => {
        this.#kill('a token that could not be opened');
        throw error;
      },
    );
    // Whoever waits for it hears of it; nobody may be waiting.
    this.opened.catch(() => undefined);
  }

  get hasEnded(): boolean {
    return this.#ended !== undefined;
  }

  /**
   * Resolves to the bytes of the reply. After the time-out the process is killed, and all
   * calls that wait for it are refused.
   * @throws RAFTSEAL_KEK_UNAVAILABLE and what the token process throws
   */
  async ask(request: TokenRequest, timeoutMs: number): Promise<Uint8Array | undefined> {
    if (this.#ended !== undefined) throw this.#ended;
    const number = ++this.#requests;
    const found = `no answer in ${Math.ceil(timeoutMs)} ms`;
    const timer = setTimeout(() => this.#kill(found), timeoutMs);
    try {
      const outcome = await new Promise<TokenOutcome>((resolve, reject) => {
        this.#waiting.set(number, { resolve, reject });
        const message: NumberedRequest = { number, request };
        this.#child.send(message, (error) => {
          if (error !== null) this.#kill(`that it cannot be reached (${error.message})`);
        });
      });
      if (outcome.kind === 'done') return outcome.bytes;
      // What it lost, a new process finds again: nothing else is tried with this one.
      if (outcome.code === 'RAFTSEAL_KEK_UNAVAILABLE') this.#kill('a token that is not well');
      throw new RaftsealError(outcome.code, outcome.message);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(number);
    }
  }

  /** Lets the process close the token; resolves once it has exited, by itself or killed. */
  async close(): Promise<void> {
    this.#end('that it was closed');
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), EXIT_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  #settle({ number, outcome }: NumberedOutcome): void {
    this.#waiting.get(number)?.resolve(outcome);
  }

  #kill(found: string): void {
    this.#end(found);
    this.#child.kill('SIGKILL');
  }

  #end(found: string): void {
    this.#ended ??= new RaftsealError(
      'RAFTSEAL_KEK_UNAVAILABLE',
      `expected the token to answer; found ${found}. Check that the token and its module are ` +
        'well: the next call opens it anew.',
    );
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
  }
}

/** What the module is set up by, without what would change how Node.js runs. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, ...env } = process.env;
  // One thread: modules differ in what they make of sessions that change theirs.
  return { ...env, UV_THREADPOOL_SIZE: '1' };
}
