import { networkInterfaces } from 'node:os';
import { arityMatches, type CommandSpec } from '@raftseal/kv';
import { describe, expect, it } from 'vitest';
import { FrontEnd } from '../../src/redis/front-end.ts';
import { MemoryKeyspace } from './memory-keyspace.ts';
import { exchange, request } from './raw-client.ts';
import { pause, serve } from './serving.ts';

const noAuth = '-NOAUTH Authentication required.\r\n';

/** Every command and subcommand there is, each with as many arguments as it takes. */
function everyCommand(): string[][] {
  const { commands } = new FrontEnd(
    { host: '127.0.0.1', port: 0 },
    { keyspace: new MemoryKeyspace() },
  );
  const leaves = commands.all.flatMap((command) =>
    command.kind === 'server' && command.subcommands
      ? [...command.subcommands.values()]
      : [command],
  );
  return leaves.map((command) => {
    const args = command.name.split('|');
    while (!arityMatches(command as CommandSpec, args.length)) args.push('x');
    return args;
  });
}

describe('before AUTH', () => {
  it('every command but AUTH, HELLO, RESET and QUIT is refused', async () => {
    const { client } = await serve({ password: 'secret' });
    const one = await client();
    const commands = everyCommand();
    expect(commands.length).toBeGreaterThan(90);
    for (const args of commands) {
      if (['auth', 'hello', 'reset', 'quit'].includes(args[0] ?? '')) continue;
      const reply = await one.ask(request(...args), '\r\n');
      const expected =
        args[0] === 'exec'
          ? noAuth.replace('-', '-EXECABORT Transaction discarded because of: ')
          : noAuth;
      expect(reply, args.join(' ')).toBe(expected);
    }
  });

  it('large requests are refused, after it they are not', async () => {
    const { port } = await serve({ password: 'secret' });
    const large = request('SET', 'a', 'x'.repeat(20_000));
    expect(await exchange(port, large)).toBe(
      '-ERR Protocol error: unauthenticated bulk length\r\n',
    );
    expect(await exchange(port, request('AUTH', 'secret') + large)).toBe('+OK\r\n+OK\r\n');
    expect(await exchange(port, request('AUTH', 'secret') + request('RESET') + large)).toBe(
      '+OK\r\n+RESET\r\n-ERR Protocol error: unauthenticated bulk length\r\n',
    );
  });
});

describe('a wrong password', () => {
  it('is answered late; what the client sent behind it waits, other clients do not', async () => {
    const { client } = await serve({ password: 'secret', authFailureDelayMs: 80 });
    const [one, other] = [await client(), await client()];
    const start = performance.now();
    one.send(request('AUTH', 'wrong') + request('AUTH', 'secret'));
    expect(await other.ask(request('AUTH', 'secret'), '\r\n')).toBe('+OK\r\n');
    await pause(20);
    expect(one.received).toBe('');
    expect(await one.until('+OK\r\n')).toMatch(/^-WRONGPASS .*\r\n\+OK\r\n$/);
    expect(performance.now() - start).toBeGreaterThan(70);
  });

  it('ends the connection when it was the last of too many', async () => {
    const { port, server, events } = await serve({ password: 'secret', authFailuresMax: 3 });
    const guesses = ['a', 'b', 'c', 'secret'].map((guess) => request('AUTH', guess)).join('');
    expect(await exchange(port, guesses)).toMatch(/^(-WRONGPASS [^\r]*\r\n){3}$/);
    expect(server.statistics.authFailures).toBe(3);
    expect(events.map(({ message }) => message)).toEqual(
      Array.from({ length: 3 }, () => 'a wrong password was given'),
    );
  });

  it('and the right one are in no event and no reply', async () => {
    const { port, events } = await serve({ password: 'secret' });
    const said = await exchange(
      port,
      ['AUTH guess', 'AUTH secret', 'CONFIG GET *', 'INFO', 'CLIENT LIST', 'COMMAND DOCS']
        .join('\r\n')
        .concat('\r\n'),
    );
    expect(said).toContain('maxmemory');
    for (const text of [said, JSON.stringify(events)]) {
      expect(text).not.toContain('secret');
      expect(text).not.toContain('guess');
    }
  });
});

it('a password of any bytes works', async () => {
  const password = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
  const { port } = await serve({ password });
  expect(await exchange(port, request('AUTH', password))).toBe('+OK\r\n');
  expect(await exchange(port, request('AUTH', 'default', password))).toBe('+OK\r\n');
  expect(await exchange(port, request('AUTH', 'admin', password))).toMatch(/^-WRONGPASS/);
});

const outside = Object.values(networkInterfaces())
  .flat()
  .find((address) => address?.family === 'IPv4' && !address.internal)?.address;

it.skipIf(outside === undefined)(
  'without a password, clients from beyond the loopback interface are turned away',
  async () => {
    const { port, server } = await serve({ host: '0.0.0.0' });
    expect(await exchange(port, request('PING'), outside)).toMatch(/^-DENIED .*\r\n$/);
    expect(server.statistics.connectionsRefused).toBe(1);
    const guarded = await serve({ host: '0.0.0.0', password: 'secret' });
    expect(await exchange(guarded.port, request('PING'), outside)).toBe(noAuth);
  },
);
