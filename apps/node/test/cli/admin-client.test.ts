import { createServer, type RequestListener } from 'node:http';
import { describe, expect, it, onTestFinished } from 'vitest';
import { AdminClient } from '../../src/cli/admin-client.ts';

/** A client of an HTTP server that answers as a test says. */
async function clientOf(answer: RequestListener): Promise<AdminClient> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  return new AdminClient({ url: `http://127.0.0.1:${port}`, token: 'the-token' });
}

const UNREACHABLE = { code: 'RAFTSEAL_NODE_UNREACHABLE' };

describe('the client of the admin API', () => {
  it('sends method, path, token and body, and gives what comes back', async () => {
    const seen: unknown[] = [];
    const client = await clientOf((request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += String(chunk);
      });
      request.on('end', () => {
        seen.push([request.method, request.url, request.headers.authorization, body]);
        response.end('{"answer":42}');
      });
    });
    expect(await client.get('/v1/log?shard=1')).toEqual({ answer: 42 });
    expect(await client.post('/v1/verify')).toEqual({ answer: 42 });
    expect(await client.post('/v1/keys/rotate', { purpose: 'raft' }, 0)).toEqual({ answer: 42 });
    expect(seen).toEqual([
      ['GET', '/v1/log?shard=1', 'Bearer the-token', ''],
      ['POST', '/v1/verify', 'Bearer the-token', '{}'],
      ['POST', '/v1/keys/rotate', 'Bearer the-token', '{"purpose":"raft"}'],
    ]);
  });

  it('throws the coded error that the node answers', async () => {
    const client = await clientOf((_, response) => {
      response.statusCode = 409;
      response.end('{"code":"RAFTSEAL_NODE_KEK_REQUIRED","message":"no KEK"}');
    });
    await expect(client.post('/')).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_KEK_REQUIRED',
      message: 'no KEK',
    });
  });

  const strange: readonly (readonly [number, string])[] = [
    [404, '<html>not found</html>'],
    [500, '{"code":"RAFTSEAL_NO_SUCH_CODE","message":"?"}'],
    [500, '{"code":"toString","message":"?"}'],
    [500, '{"code":7,"message":"?"}'],
    [500, '{"message":"?"}'],
    [500, 'null'],
    [302, ''],
    [200, '<html>a router</html>'],
    [200, ''],
    [204, ''],
  ];

  it.each(strange)('takes status %i with the body %o for no node', async (status, body) => {
    const client = await clientOf((_, response) => {
      response.statusCode = status;
      response.end(body);
    });
    await expect(client.get('/v1/status')).rejects.toMatchObject({
      ...UNREACHABLE,
      message: expect.stringContaining(`${status}`),
    });
  });

  it('says that nothing answers', async () => {
    for (const url of ['http://127.0.0.1:1', '127.0.0.1:7379', 'no url', '']) {
      const client = new AdminClient({ url, token: 'the-token' });
      await expect(client.get('/v1/status')).rejects.toMatchObject({
        ...UNREACHABLE,
        message: expect.not.stringContaining('the-token'),
      });
    }
  });

  it('does not wait for ever, unless it is told to', async () => {
    const client = await clientOf((request, response) => {
      if (request.url === '/late') setTimeout(() => response.end('{}'), 120);
    });
    await expect(client.post('/never', {}, 50)).rejects.toMatchObject(UNREACHABLE);
    expect(await client.post('/late', {}, 0)).toEqual({});
  });
});
