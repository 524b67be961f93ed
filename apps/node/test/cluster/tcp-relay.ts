/**
 * Stands between two programs that speak TCP, and lets a test decide what gets through: everything,
 * nothing, or so many bytes of an answer.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

export class TcpRelay {
  /** Told of what has come from the server on one connection so far, before it is passed on. */
  onAnswer: ((bytes: number) => void) | undefined;
  readonly #listener: Server;
  readonly #target: number;
  readonly #pairs = new Set<Pair>();
  #isOpen = true;

  private constructor(target: number) {
    this.#target = target;
    this.#listener = createServer({ allowHalfOpen: true }, (client) => this.#join(client));
  }

  /**
   * A relay on a port of its own that ends with the test.
   * @param target port on loopback
   */
  static async open(target: number): Promise<TcpRelay> {
    const relay = new TcpRelay(target);
    await listening(relay.#listener);
    onTestFinished(() => relay.#close());
    return relay;
  }

  get port(): number {
    return portOf(this.#listener);
  }

  /** From here on nothing gets through; connections stay open, and new ones are taken. */
  stall(): void {
    this.#isOpen = false;
    for (const { client, server } of this.#pairs) {
      client.pause();
      server.pause();
    }
  }

  /** Passes on what has waited, and everything that comes. */
  resume(): void {
    this.#isOpen = true;
    for (const { client, server } of this.#pairs) {
      client.resume();
      server.resume();
    }
  }

  #join(client: Socket): void {
    const server = connect({ port: this.#target, host: '127.0.0.1', allowHalfOpen: true });
    const pair = { client, server };
    this.#pairs.add(pair);
    let answered = 0;
    client.on('data', (chunk) => server.write(chunk));
    server.on('data', (chunk) => {
      answered += chunk.length;
      this.onAnswer?.(answered);
      client.write(chunk);
    });
    const end = (): void => {
      this.#pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    client
      .on('end', () => server.end())
      .on('error', end)
      .on('close', end);
    server
      .on('end', () => client.end())
      .on('error', end)
      .on('close', end);
    if (this.#isOpen) return;
    client.pause();
    server.pause();
  }

  #close(): void {
    this.#listener.close();
    for (const { client, server } of this.#pairs) {
      client.destroy();
      server.destroy();
    }
  }
}

/** A port that nobody listens on, a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await listening(server);
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}

async function listening(server: Server): Promise<void> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
