import { request } from 'node:https';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { AdminCall } from '../../src/admin/call.ts';
import { adminApp, adminServer } from '../../src/admin/server.ts';
import type { ListenerTls } from '../../src/config.ts';
import { type MutualTls, peerCertificates, pemOf } from '../peer/certificates.ts';
import { OperationsDouble } from './operations-double.ts';

const TOKEN = 'correct-horse-battery-staple';
const authorization = `Bearer ${TOKEN}`;
const { member, stranger, expired } = peerCertificates();
const own = { certificatePath: member.certificatePath, keyPath: member.keyPath };

async function listening(tls: ListenerTls): Promise<number> {
  const parts = {
    operations: new OperationsDouble(),
    token: TOKEN,
    onInternalError: () => undefined,
  };
  const server = await adminServer({ host: '127.0.0.1', port: 0, tls }, parts);
  onTestFinished(() => server.close());
  return server.port;
}

/** Resolves to the status; rejects where there is no answer. */
function statusOf(
  port: number,
  files: Partial<ReturnType<typeof pemOf>>,
  token = true,
): Promise<number> {
  const headers = token ? { authorization } : {};
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path: '/v1/status', headers, agent: false as const };
    request({ ...options, ...files }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .once('error', reject)
      .end();
  });
}

describe('the admin API with TLS', () => {
  const { ca } = pemOf(member);

  it('shows a certificate, and asks for the token as ever', async () => {
    const port = await listening(own);
    expect(await statusOf(port, { ca })).toBe(200);
    expect(await statusOf(port, { ca }, false)).toBe(401);
    await expect(statusOf(port, {})).rejects.toThrow();
    await expect(fetch(`http://127.0.0.1:${port}/health`)).rejects.toThrow();
  });

  it('asks for a certificate as well where it is given a CA for clients', async () => {
    const port = await listening({ ...own, clientCaPath: member.caPath });
    const wrong = [stranger, expired].map((files: MutualTls) => ({ ...pemOf(files), ca }));
    for (const files of [{ ca }, ...wrong]) await expect(statusOf(port, files)).rejects.toThrow();
    expect(await statusOf(port, pemOf(member))).toBe(200);
    expect(await statusOf(port, pemOf(member), false)).toBe(401);
  });

  it('does not start without its certificate', async () => {
    await expect(listening({ ...own, certificatePath: '/none/such' })).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_CERTIFICATE',
    });
  });
});

describe('an admin call that the leader has to answer', () => {
  const atLeader = ['/v1/encryption/enable', '/v1/keys/rotate', '/v1/keys/rewrap'];

  function newApp(answer: (call: AdminCall) => Response | undefined) {
    const operations = new OperationsDouble();
    const forwarded: AdminCall[] = [];
    const forward = async (call: AdminCall): Promise<Response | undefined> => {
      forwarded.push(call);
      return answer(call);
    };
    const app = adminApp({ operations, token: TOKEN, onInternalError: () => undefined, forward });
    const call = (path: string, body?: string) =>
      app.request(path, {
        method: body === undefined ? 'GET' : 'POST',
        headers: { authorization },
        ...(body === undefined ? {} : { body }),
      });
    return { app, operations, forwarded, call };
  }

  it.each(atLeader)('is answered by it: %s', async (path) => {
    const { call, operations, forwarded } = newApp(() => Response.json({ by: 'the leader' }));
    const response = await call(`${path}?a=b`, '{"purpose":"raft"}');
    expect([response.status, await response.json()]).toEqual([200, { by: 'the leader' }]);
    expect(forwarded).toEqual([
      { method: 'POST', path: `${path}?a=b`, body: '{"purpose":"raft"}' },
    ]);
    expect(operations.calls).toEqual([]);
  });

  it.each(atLeader)('is answered here where this node is the leader: %s', async (path) => {
    const { call, operations } = newApp(() => undefined);
    expect((await call(path, '{"purpose":"raft"}')).status).toBeLessThan(300);
    expect(operations.calls).toHaveLength(1);
  });

  it.each(atLeader)('is forwarded for nobody without the token: %s', async (path) => {
    const { app, forwarded } = newApp(() => Response.json({}));
    expect((await app.request(path, { method: 'POST' })).status).toBe(401);
    expect(forwarded).toEqual([]);
  });

  it('is none that is about this node', async () => {
    const { call, forwarded } = newApp(() => Response.json({}));
    for (const path of ['/health', '/metrics', '/v1/status', '/v1/log']) await call(path);
    await call('/v1/verify', '{}');
    expect(forwarded).toEqual([]);
  });
});
