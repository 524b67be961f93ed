/** What the admin API puts into the audit trail, and what it does where it cannot. */
import { RaftsealError } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { tokenFingerprint } from '../../src/admin/audited.ts';
import { adminApp, adminServer } from '../../src/admin/server.ts';
import { AdminClient } from '../../src/cli/admin-client.ts';
import { filesOf, makeCertificates, pemOf } from '../peer/certificates.ts';
import { clientWith, servedPeer, tokenSecurity } from '../peer/serving.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { OperationsDouble } from './operations-double.ts';

const TOKEN = 'correct-horse-battery-staple';
const headers = { authorization: `Bearer ${TOKEN}` };

function newApp(forward?: () => Promise<Response>) {
  const operations = new OperationsDouble();
  const onInternalError = (): void => undefined;
  const parts = { operations, token: TOKEN, onInternalError, ...(forward && { forward }) };
  return { operations, app: adminApp(parts) };
}

const routes = newApp()
  .app.routes.filter(({ method, path }) => method !== 'ALL' && !path.endsWith('*'))
  .map(({ method, path }) => ({ method, path }));

describe('a call of the admin API', () => {
  const reads = new Set(['/v1/verify', '/v1/keys/blockers']);
  const changes = routes.filter(({ method, path }) => method !== 'GET' && !reads.has(path));

  it.each(changes)('$method $path is not acted on where it cannot be recorded', async (route) => {
    const { app, operations } = newApp();
    operations.auditFailure = new RaftsealError('RAFTSEAL_NODE_AUDIT_UNAVAILABLE', 'no room');
    const reply = await app.request(route.path, { method: route.method, headers, body: '{}' });
    expect(await reply.json()).toMatchObject({ code: 'RAFTSEAL_NODE_AUDIT_UNAVAILABLE' });
    expect(reply.status).toBe(409);
    expect(operations.calls).toEqual([]);
  });

  it.each(changes)('$method $path is recorded with its caller and its end', async (route) => {
    const { app, operations } = newApp();
    operations.failure = new RaftsealError('RAFTSEAL_NODE_NOT_READY', 'not yet');
    await app.request(route.path, { method: route.method, headers, body: '{"purpose":"raft"}' });
    expect(operations.audited).toEqual([
      {
        ...route,
        caller: tokenFingerprint(TOKEN),
        given: { purpose: 'raft' },
        code: expect.stringMatching(/^RAFTSEAL_NODE_(NOT_READY|BAD_REQUEST)$/),
      },
    ]);
  });

  it('that reads is not recorded, and neither is one without the token', async () => {
    const { app, operations } = newApp();
    operations.auditFailure = new Error('never asked');
    for (const { method, path } of routes) {
      if (changes.some((change) => change.path === path)) {
        expect((await app.request(path, { method })).status).toBe(401);
      } else {
        const body = method === 'POST' ? { body: '{"dekId":17}' } : {};
        expect((await app.request(path, { method, headers, ...body })).status).toBe(200);
      }
    }
    expect(operations.audited).toEqual([]);
  });

  it('that another node answered is recorded with the end that it had there', async () => {
    const refusal = { code: 'RAFTSEAL_NODE_MEMBER_INCAPABLE', message: 'no' };
    for (const [reply, code] of [
      [Response.json({}), 'done'],
      [Response.json(refusal, { status: 409 }), refusal.code],
      [new Response('text', { status: 502 }), 'status 502'],
    ] as const) {
      const { app, operations } = newApp(async () => reply);
      await app.request('/v1/keys/rewrap', { method: 'POST', headers });
      expect(operations.audited).toMatchObject([{ code }]);
      expect(operations.calls).toEqual([]);
    }
  });

  it('is shown without what may be a secret, and not at any length', async () => {
    const { app, operations } = newApp();
    const body = JSON.stringify({
      kekUris: ['pkcs11:token=t;object=k?pin-value=1234', 'vault-transit:https://u:p@host/k', 7],
      password: 'hunter2',
      nodeId: 'x'.repeat(1000),
      waves: [[{ deep: [1] }], Array.from({ length: 100 }, () => 1)],
    });
    await app.request('/v1/keks/use', { method: 'POST', headers, body });
    expect(operations.audited[0]?.given).toEqual({
      kekUris: ['pkcs11:token=t;object=k?pin-value=...', 'vault-transit:https://...@host/k', 7],
      nodeId: `${'x'.repeat(256)}...`,
      waves: [['(object)'], Array.from({ length: 64 }, () => 1)],
    });
    await app.request('/v1/keys/rewrap', { method: 'POST', headers, body: '[not json' });
    expect(operations.audited[1]?.given).toEqual({});
  });
});

describe('the caller', () => {
  it('is named by the certificate that it shows, besides its token', async () => {
    const directory = temporaryDirectory();
    makeCertificates(directory, ['127.0.0.1']);
    const member = filesOf(directory, '127.0.0.1');
    const { caPath, certificatePath, keyPath } = member;
    const tls = { certificatePath, keyPath, clientCaPath: caPath };
    const operations = new OperationsDouble();
    const server = await adminServer(
      { host: '127.0.0.1', port: 0, tls },
      { operations, token: TOKEN, onInternalError: () => undefined },
    );
    const client = new AdminClient({
      url: `https://127.0.0.1:${server.port}`,
      token: TOKEN,
      tls: pemOf(member),
    });
    await client.post('/v1/keys/rewrap');
    await server.close();
    expect(operations.audited).toMatchObject([
      { caller: expect.stringMatching(/^certificate \S.*, token [0-9a-f]{8}$/) },
    ]);
  });

  it('is another node where the call came by the peer port', async () => {
    const security = tokenSecurity();
    const { url, admin } = await servedPeer(security);
    const client = await clientWith(security);
    await client.forward(url, { method: 'POST', path: '/v1/keys/rewrap', body: '' });
    expect(admin.audited).toMatchObject([
      { path: '/v1/keys/rewrap', caller: expect.stringMatching(/^peer, token [0-9a-f]{8}$/) },
    ]);
  });
});
