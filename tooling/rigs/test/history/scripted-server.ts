/**
 * A server that a cluster client takes for a node: it answers as a script says, and remembers every
 * command that reached it. The script can close the connection instead, which real servers only do
 * when it does not suit a test.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

/** The raw reply to a command; `close` ends the connection without one. */
export type Script = (command: readonly string[], port: number) => string;

export interface ScriptedServer {
  readonly port: number;
  /**
   * Commands other than those by which a client gets to know a cluster; READONLY stands before one
   * that came over a connection in that mode.
   */
  readonly received: readonly (readonly string[])[];
  close(): Promise<void>;
}

const introductions: ReadonlySet<string> = new Set(['INFO', 'CLUSTER', 'CLIENT', 'READONLY']);

/** @param replicas ports of the nodes that it names beside itself */
export async function scriptedServer(
  script: Script,
  replicas: readonly number[] = [],
): Promise<ScriptedServer> {
  const received: (readonly string[])[] = [];
  const sockets = new Set<Socket>();
  const readOnly = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    let pending = '';
    socket.on('data', (chunk) => {
      pending += chunk.toString();
      for (let taken = takeCommand(pending); taken !== undefined; taken = takeCommand(pending)) {
        pending = taken.rest;
        answer(socket, taken.command);
      }
    });
  });
  const answer = (socket: Socket, command: readonly string[]): void => {
    const name = command[0]?.toUpperCase() ?? '';
    if (introductions.has(name)) {
      if (name === 'READONLY') readOnly.add(socket);
      socket.write(introduction(name, command[1] ?? '', [port, ...replicas]));
      return;
    }
    received.push(readOnly.has(socket) ? ['READONLY', ...command] : command);
    const reply = script([name, ...command.slice(1)], port);
    if (reply === 'close') socket.destroy();
    else socket.write(reply);
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    received,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function introduction(name: string, subcommand: string, ports: readonly number[]): string {
  if (name === 'INFO') return bulk('loading:0');
  if (name === 'CLUSTER' && subcommand.toUpperCase() === 'INFO') return bulk('cluster_state:ok');
  if (name === 'CLUSTER') {
    const nodes = ports.map((port) => `*3\r\n${bulk('127.0.0.1')}:${port}\r\n${bulk('node')}`);
    return `*1\r\n*${2 + nodes.length}\r\n:0\r\n:16383\r\n${nodes.join('')}`;
  }
  return '+OK\r\n';
}

function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`;
}

/** One command off the front of what has arrived; undefined where it is not whole. */
function takeCommand(text: string): { command: string[]; rest: string } | undefined {
  const parts = text.split('\r\n');
  const count = Number(parts[0]?.slice(1));
  const lines = 1 + 2 * count;
  if (parts[0] === '' || parts.length <= lines) return undefined;
  const command = Array.from({ length: count }, (_, at) => parts[2 + 2 * at] ?? '');
  return { command, rest: parts.slice(lines).join('\r\n') };
}
