/** A redis-server of the test's own, and a client that shows its replies as they are. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ByteString, Reply } from '@raftseal/interface';

/** A reply in a form that can be compared; errors and simple strings by their first char. */
export type Shown = string | null | Shown[];

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

export class RedisOracle {
  readonly #process: ChildProcess;
  readonly #directory: string;
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #waiting: { count: number; resolve: (replies: Shown[]) => void } | undefined;

  private constructor(process: ChildProcess, directory: string, socket: Socket) {
    this.#process = process;
    this.#directory = directory;
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#deliver();
    });
  }

  static async start(): Promise<RedisOracle> {
    const port = await freePort();
    const directory = mkdtempSync(join(tmpdir(), 'raftseal-redis-'));
    const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    const process = spawn('redis-server', [...args, '--dir', directory], { stdio: 'ignore' });
    const missing = new Promise<never>((_, reject) => {
      process.on('error', () => {
        reject(new Error('redis-server is not on PATH: apt-get install redis-server'));
      });
    });
    const socket = await Promise.race([missing, connected(port)]);
    return new RedisOracle(process, directory, socket);
  }

  /** Sends commands in one write; their replies in order. */
  async ask(commands: readonly (readonly ByteString[])[]): Promise<Shown[]> {
    if (commands.length === 0) return [];
    const parts = commands.map(
      (args) => `*${args.length}\r\n${args.map((arg) => `$${arg.length}\r\n${arg}\r\n`).join('')}`,
    );
    return new Promise((resolve) => {
      this.#waiting = { count: commands.length, resolve };
      this.#socket.write(Buffer.from(parts.join(''), 'latin1'));
    });
  }

  async stop(): Promise<void> {
    this.#socket.destroy();
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await ended;
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #deliver(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const text = this.#received.toString('latin1');
    const replies: Shown[] = [];
    let at = 0;
    while (replies.length < waiting.count) {
      const parsed = parse(text, at);
      if (parsed === undefined) return;
      replies.push(parsed.reply);
      at = parsed.next;
    }
    this.#received = this.#received.subarray(at);
    this.#waiting = undefined;
    waiting.resolve(replies);
  }
}

async function connected(port: number): Promise<Socket> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const socket = connect(port, '127.0.0.1');
    const ok = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    if (ok) return socket;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('redis-server did not start within 5 s');
}

function parse(text: string, start: number): { reply: Shown; next: number } | undefined {
  const lineEnd = text.indexOf('\r\n', start);
  if (lineEnd === -1) return undefined;
  const type = text[start];
  const line = text.slice(start + 1, lineEnd);
  let next = lineEnd + 2;
  if (type === '+' || type === '-') return { reply: `${type}${line}`, next };
  // Beyond the safe integers a number would hide a difference.
  if (type === ':') return { reply: `:${line}`, next };
  const length = Number(line);
  if (type === '$') {
    if (length === -1) return { reply: null, next };
    if (text.length < next + length + 2) return undefined;
    return { reply: `$${text.slice(next, next + length)}`, next: next + length + 2 };
  }
  if (length === -1) return { reply: '*-1', next };
  const items: Shown[] = [];
  while (items.length < length) {
    const item = parse(text, next);
    if (item === undefined) return undefined;
    items.push(item.reply);
    next = item.next;
  }
  return { reply: items, next };
}

/** A reply of a shard in the form in which RESP2 would carry it. */
export function shown(reply: Reply): Shown {
  if (reply === null) return null;
  if (typeof reply === 'string') return `$${reply}`;
  if (typeof reply === 'number' || typeof reply === 'bigint') return `:${reply}`;
  if (typeof reply === 'boolean') return `:${reply ? 1 : 0}`;
  if (!('kind' in reply)) return reply.map(shown);
  switch (reply.kind) {
    case 'simple':
      return `+${reply.text}`;
    case 'error':
      return `-${reply.text}`;
    case 'map':
    case 'pairs':
      return reply.entries.flatMap(([key, value]) => [shown(key), shown(value)]);
    case 'set':
      return reply.items.map(shown);
    case 'double':
    case 'verbatim':
      return `$${reply.text}`;
    case 'null-array':
      return '*-1';
  }
}
