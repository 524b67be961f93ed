/** A TCP client that knows nothing of the protocol: bytes out, bytes in. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { ByteString } from '@raftseal/interface';

export class RawClient {
  readonly socket: Socket;
  /** Settles with everything received, once the server has closed or reset the connection. */
  readonly closed: Promise<ByteString>;
  #received = '';
  #waiting: (() => void)[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.#received += chunk.toString('latin1');
      this.#wake();
    });
    socket.on('error', () => socket.destroy());
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        resolve(this.#received);
        this.#wake();
      });
      socket.on('end', () => socket.end());
    });
  }

  static async open(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const socket = connect({ port, host, allowHalfOpen: true });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /** Everything received so far. */
  get received(): ByteString {
    return this.#received;
  }

  send(bytes: Buffer | ByteString): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /** Waits until what was received ends as given, and returns all of it. */
  async until(end: ByteString): Promise<ByteString> {
    while (!this.#received.endsWith(end)) await this.#more(`an end of ${JSON.stringify(end)}`);
    return this.#received;
  }

  /** Waits for a number of bytes in all. */
  async length(bytes: number): Promise<ByteString> {
    while (this.#received.length < bytes) await this.#more(`${bytes} bytes`);
    return this.#received;
  }

  /** Sends, and returns what came in up to the expected end; forgets what came before. */
  async ask(bytes: Buffer | ByteString, end: ByteString): Promise<ByteString> {
    this.#received = '';
    this.send(bytes);
    return this.until(end);
  }

  close(): void {
    this.socket.destroy();
  }

  #more(wanted: string): Promise<void> {
    if (this.socket.destroyed) {
      const found = JSON.stringify(this.#received.slice(-200));
      throw new Error(`the connection ended: expected ${wanted}, found ${found}`);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** Sends a stream, ends it, and returns everything the server says before it closes. */
export async function exchange(
  port: number,
  bytes: Buffer | ByteString,
  host?: string,
): Promise<ByteString> {
  const client = await RawClient.open(port, host);
  client.send(bytes);
  client.socket.end();
  return client.closed;
}

/** The array form of one request. */
export function request(...args: readonly ByteString[]): ByteString {
  return `*${args.length}\r\n${args.map((arg) => `$${arg.length}\r\n${arg}\r\n`).join('')}`;
}
