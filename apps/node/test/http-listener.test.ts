import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Hono } from 'hono';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type HttpListener, openHttpListener } from '../src/http-listener.ts';
import { TlsFiles } from '../src/tls-files.ts';
import { peerCertificates, pemOf } from './peer/certificates.ts';

const { member } = peerCertificates();
const timeouts = { handshakeMs: 100, headMs: 100, requestMs: 200, idleMs: 100 };

async function listening(tls?: TlsFiles, limits = timeouts): Promise<HttpListener> {
  const app = new Hono();
  app.all('*', async (c) => c.text(`read ${(await c.req.text()).length}`));
  app.onError((_, c) => c.text('failed', 500));
  const listener = await openHttpListener({
    what: 'listener of a test',
    address: { host: '127.0.0.1', port: 0 },
    fetch: app.fetch,
    tls,
    timeouts: limits,
  });
  onTestFinished(() => listener.close());
  return listener;
}

async function memberFiles(): Promise<TlsFiles> {
  const files = await TlsFiles.open(member);
  onTestFinished(() => files.close());
  return files;
}

function connected(port: number, tls: boolean): Socket {
  const socket = tls
    ? connectTls({ host: '127.0.0.1', port, ...pemOf(member) })
    : connectTcp(port, '127.0.0.1');
  socket.on('error', () => undefined);
  onTestFinished(() => void socket.destroy());
  return socket;
}

/** Everything that comes until the other side has ended the connection. */
function untilEnded(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += String(chunk);
  });
  return new Promise((resolve) => socket.once('close', () => resolve(text)));
}

describe('a client that takes its time', () => {
  const dawdlers: readonly (readonly [string, string])[] = [
    ['nothing', ''],
    ['a part of the first line', 'GET / HT'],
    ['a head without an end', 'GET / HTTP/1.1\r\nhost: x\r\nx-'],
    ['a body that does not come', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n'],
    ['half a body', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1234'],
    [
      'chunks without an end',
      'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n',
    ],
  ];

  describe.each([false, true])('with TLS: %s', (secure) => {
    it.each(dawdlers)('and sends %s is not waited for', async (_, sent) => {
      const { port } = await listening(secure ? await memberFiles() : undefined);
      const socket = connected(port, secure);
      socket.write(sent);
      expect(await untilEnded(socket)).not.toContain('read');
    });

    it('drop by drop is not waited for', async () => {
      const { port } = await listening(secure ? await memberFiles() : undefined);
      const socket = connected(port, secure);
      const drops = setInterval(() => socket.writable && socket.write('x'), 10);
      onTestFinished(() => clearInterval(drops));
      socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n');
      expect(await untilEnded(socket)).not.toContain('read');
    });

    it('after its call is left once it is idle', async () => {
      const { port } = await listening(secure ? await memberFiles() : undefined);
      const socket = connected(port, secure);
      socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
      expect(await untilEnded(socket)).toContain('read 0');
    });
  });

  it('in its handshake is not waited for', async () => {
    const { port } = await listening(await memberFiles());
    const socket = connected(port, false);
    socket.write(Buffer.from('160301', 'hex'));
    expect(await untilEnded(socket)).toBe('');
  });
});

describe('a listener', () => {
  it('closes although clients are in the middle of a handshake, a head, or nothing', async () => {
    const patient = { handshakeMs: 60_000, headMs: 60_000, requestMs: 60_000, idleMs: 60_000 };
    const listener = await listening(await memberFiles(), patient);
    const sockets = [connected(listener.port, false), connected(listener.port, true)];
    const ended = sockets.map(untilEnded);
    await Promise.all(sockets.map((socket) => new Promise((done) => socket.once('connect', done))));
    sockets[0]?.write(Buffer.from('160301', 'hex'));
    sockets[1]?.write('GET / HT');
    await listener.close();
    await listener.close();
    await Promise.all(ended);
  });

  it('says which port it cannot have', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void taken.close());
    const address = taken.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    const opening = openHttpListener({
      what: 'listener of a test',
      address: { host: '127.0.0.1', port },
      fetch: new Hono().fetch,
    });
    await expect(opening).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_PORT',
      message: expect.stringMatching(`listener of a test.*127.0.0.1:${port} \\(EADDRINUSE\\)`),
    });
  });
});
