import { createConnection, createServer } from 'node:net';
import { expect, it } from 'vitest';
import { ProtocolError, ReplyWriter, RequestParser } from '../src/index.ts';

// <example>
const server = createServer((socket) => {
  const parser = new RequestParser({ bulkBytesMax: 1024 * 1024 });
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    const writer = new ReplyWriter();
    try {
      parser.feed(chunk);
      for (let args = parser.next(); args !== undefined; args = parser.next()) {
        if (args[0] === 'ECHO' && args[1] !== undefined) writer.bulk(args[1]);
        else writer.error(`ERR unknown command '${args[0]}'`);
      }
      socket.write(writer.take());
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      writer.error(error.reply);
      socket.end(writer.take());
    }
  });
});
// </example>

it('the example of the README answers, and closes a malformed stream', async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('expected a port');
  const socket = createConnection(address.port, '127.0.0.1');
  const ended = new Promise((resolve) => socket.on('end', resolve));
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1');
  });
  socket.write('*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\nFOO\r\n*1\r\n!\r\n');
  await ended;
  expect(received).toBe(
    "$5\r\nhello\r\n-ERR unknown command 'FOO'\r\n-ERR Protocol error: expected '$', got '!'\r\n",
  );
  await new Promise((resolve) => server.close(resolve));
});
