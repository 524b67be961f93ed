/**
 * A client of the Redis protocol that sends what it is given at once and hands over each reply in
 * the turn in which it comes. It never sends anything twice.
 */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';

export interface Answer {
  /** What came without an error; null for a key that is not there. */
  readonly value: string | null;
  /** The text of an error. */
  readonly error: string | undefined;
}

const TIMEOUT_MS = 20_000;

export class RespClient {
  readonly #socket: Socket;
  readonly #waiting: ((answer: Answer | undefined) => void)[] = [];
  #received = '';

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
    socket.on('data', (bytes: Buffer) => this.#take(bytes.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      for (const answer of this.#waiting.splice(0)) answer(undefined);
    });
  }

  static async connect(port: number): Promise<RespClient> {
    const socket = createConnection({ port, host: '127.0.0.1' });
    await once(socket, 'connect');
    return new RespClient(socket);
  }

  /** @param onAnswer called in the turn of the answer; with undefined where none will come */
  send(words: readonly string[], onAnswer: (answer: Answer | undefined) => void): void {
    if (this.#socket.destroyed) {
      onAnswer(undefined);
      return;
    }
    this.#waiting.push(onAnswer);
    const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    this.#socket.write(`*${words.length}\r\n${parts.join('')}`);
  }

  ask(...words: readonly string[]): Promise<Answer | undefined> {
    return new Promise((resolve) => this.send(words, resolve));
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    this.#received += text;
    for (;;) {
      const answer = this.#next();
      if (answer === undefined) return;
      this.#waiting.shift()?.(answer);
    }
  }

  /** Of what was received, the first answer that is whole. */
  #next(): Answer | undefined {
    const end = this.#received.indexOf('\r\n');
    if (end < 0) return undefined;
    const [kind, rest] = [this.#received.slice(0, 1), this.#received.slice(1, end)];
    if (kind !== '$' || rest === '-1') {
      this.#received = this.#received.slice(end + 2);
      if (kind === '-') return { value: null, error: rest };
      return { value: kind === '$' || kind === '_' ? null : rest, error: undefined };
    }
    const [from, to] = [end + 2, end + 2 + Number(rest)];
    if (this.#received.length < to + 2) return undefined;
    const value = this.#received.slice(from, to);
    this.#received = this.#received.slice(to + 2);
    return { value, error: undefined };
  }
}
