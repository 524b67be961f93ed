import { createServer } from 'node:net';
import { fatalError, RaftsealError } from '@raftseal/interface';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type AdminServer, adminApp, adminServer } from '../../src/admin/server.ts';
import {
  OperationsDouble,
  someEntry,
  someReceipt,
  someReport,
  someStatus,
} from './operations-double.ts';

const TOKEN = 'correct-horse-battery-staple';
const authorized = { authorization: `Bearer ${TOKEN}` };

/**
 * Who may call what. A route of the server that is not here, and one here that the server does not
 * have, fail the test: nobody adds a call without deciding this.
 */
const decisions: Readonly<Record<string, 'anybody' | 'token'>> = {
  'GET /health': 'anybody',
  'GET /metrics': 'token',
  'GET /v1/status': 'token',
  'POST /v1/encryption/enable': 'token',
  'POST /v1/keys/rotate': 'token',
  'POST /v1/encryption/seal-only': 'token',
  'GET /v1/encryption/cleartext': 'token',
  'POST /v1/encryption/attest': 'token',
  'POST /v1/certificate': 'token',
  'POST /v1/keys/rewrap': 'token',
  'POST /v1/keys/blockers': 'token',
  'POST /v1/keys/retire': 'token',
  'POST /v1/keks/use': 'token',
  'GET /v1/log': 'token',
  'POST /v1/verify': 'token',
  'GET /v1/nonces/audit': 'token',
  'GET /v1/digest': 'token',
  'GET /v1/backups': 'token',
  'POST /v1/backups/create': 'token',
  'POST /v1/backups/register': 'token',
  'POST /v1/backups/forget': 'token',
  'POST /v1/members/promote': 'token',
  'POST /v1/members/remove': 'token',
  'POST /v1/shards/prefer': 'token',
};

/** A body that each call takes. */
const bodies: Readonly<Record<string, string>> = {
  'POST /v1/encryption/enable': '{"waves":[[1],[2,3]]}',
  'POST /v1/keys/rotate': '{"purpose":"raft"}',
  'POST /v1/keys/blockers': '{"dekId":17}',
  'POST /v1/keys/retire': '{"dekId":17}',
  'POST /v1/keks/use': '{"kekUris":["file:/kek"]}',
  'POST /v1/backups/create': '{"path":"/backups/1"}',
  'POST /v1/backups/register': '{"backupId":"backup-1"}',
  'POST /v1/backups/forget': '{"backupId":"backup-1"}',
  'POST /v1/members/promote': '{"nodeId":"node-1"}',
  'POST /v1/members/remove': '{"nodeId":"node-1"}',
  'POST /v1/shards/prefer': '{"shard":3,"nodeId":"node-1"}',
};

function newApp() {
  const operations = new OperationsDouble();
  const internal: unknown[] = [];
  const onInternalError = (error: unknown): void => void internal.push(error);
  const app = adminApp({ operations, token: TOKEN, onInternalError });
  const call = async (
    route: string,
    headers: Record<string, string> = authorized,
    body: string | undefined = bodies[route],
  ): Promise<{ readonly status: number; readonly text: string; readonly json: unknown }> => {
    const [method = '', path = ''] = route.split(' ');
    const content = method === 'POST' && body ? { body } : {};
    const response = await app.request(path, { method, headers, ...content });
    const text = await response.text();
    return { status: response.status, text, json: asJson(text) };
  };
  return { app, operations, internal, call };
}

function asJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Every route of the server; what applies to all of them is no route. */
function routesOf({ app }: ReturnType<typeof newApp>): readonly string[] {
  return app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method} ${path}`);
}

const routes = routesOf(newApp());
const withToken = routes.filter((route) => decisions[route] !== 'anybody');

describe('who may call the admin API', () => {
  it('is decided for every route', () => {
    expect(new Set(routes)).toEqual(new Set(Object.keys(decisions)));
  });

  const wrong: readonly Record<string, string>[] = [
    {},
    { authorization: '' },
    { authorization: 'Bearer' },
    { authorization: 'Bearer ' },
    { authorization: 'Bearer wrong' },
    { authorization: `Bearer ${TOKEN}x` },
    { authorization: `Bearer ${TOKEN.slice(0, -1)}` },
    { authorization: `Bearer  ${TOKEN}` },
    { authorization: `Basic ${Buffer.from(`admin:${TOKEN}`).toString('base64')}` },
    { authorization: TOKEN },
    { 'x-api-key': TOKEN },
    { cookie: `token=${TOKEN}` },
  ];

  it.each(withToken)('%s is refused without the token, and does nothing', async (route) => {
    for (const headers of wrong) {
      const { call, operations } = newApp();
      const { status, json } = await call(route, headers);
      expect(status).toBe(401);
      expect(json).toMatchObject({ code: 'RAFTSEAL_NODE_UNAUTHORIZED' });
      expect(operations.calls).toEqual([]);
    }
  });

  it.each(withToken)('%s takes no token from its query', async (route) => {
    const { call, operations } = newApp();
    const { status } = await call(`${route}?token=${TOKEN}&access_token=${TOKEN}`, {});
    expect(status).toBe(401);
    expect(operations.calls).toEqual([]);
  });

  it.each(routes)('%s answers with the token', async (route) => {
    const { call } = newApp();
    expect((await call(route)).status).toBeLessThan(300);
  });

  it('tells without the token whether the node serves, and nothing else', async () => {
    const { call, operations } = newApp();
    expect(await call('GET /health', {})).toMatchObject({ status: 200, json: { status: 'ok' } });
    operations.healthy = false;
    expect(await call('GET /health', {})).toMatchObject({
      status: 503,
      json: { status: 'unavailable' },
    });
  });

  it.each(['GET /', 'GET /v1/none', 'DELETE /v1/status', 'POST /health', 'OPTIONS /v1/log'])(
    'does not tell %s that there is no such call, without the token',
    async (route) => {
      const { call } = newApp();
      expect((await call(route, {})).status).toBe(401);
      expect(await call(route)).toMatchObject({
        status: 404,
        json: { code: 'RAFTSEAL_NODE_NOT_FOUND' },
      });
    },
  );

  it.each(['GET /HEALTH', 'GET /health/', 'GET //health', 'GET /health/../v1/status'])(
    'is not fooled by %s',
    async (route) => {
      const { call, operations } = newApp();
      const { status, text } = await call(route, {});
      expect(status).toBe(401);
      expect(text).not.toContain(someStatus.nodeId);
      expect(operations.calls).toEqual([]);
    },
  );
});

describe('the admin API', () => {
  it('reports the status as it is', async () => {
    const { call } = newApp();
    expect(await call('GET /v1/status')).toMatchObject({ status: 200, json: someStatus });
  });

  it('passes metrics on in their own format', async () => {
    const { app } = newApp();
    const response = await app.request('/metrics', { headers: authorized });
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4');
    expect(await response.text()).toBe('raftseal_clients 3\n');
  });

  it('accepts a cutover with or without waves, and answers with the status', async () => {
    const { call, operations } = newApp();
    const route = 'POST /v1/encryption/enable';
    for (const body of ['', '{}', '{"waves":[[1],[2,3]]}', '{"waves":[]}']) {
      expect(await call(route, authorized, body)).toMatchObject({ status: 202, json: someStatus });
    }
    expect(operations.calls).toEqual([
      ['enableEncryption'],
      ['enableEncryption'],
      ['enableEncryption', [[1], [2, 3]]],
      ['enableEncryption', []],
    ]);
  });

  it('rotates the key of the purpose named', async () => {
    const { call, operations } = newApp();
    for (const purpose of ['raft', 'storage', 'index']) {
      const body = JSON.stringify({ purpose });
      expect(await call('POST /v1/keys/rotate', authorized, body)).toMatchObject({
        status: 200,
        json: { purpose, dekId: 4_294_967_294 },
      });
    }
    expect(operations.calls).toEqual([
      ['rotate', 'raft'],
      ['rotate', 'storage'],
      ['rotate', 'index'],
    ]);
  });

  it('makes the cluster sealed-only, and certifies what is sealed', async () => {
    const { call, operations } = newApp();
    expect(await call('POST /v1/encryption/seal-only')).toMatchObject({
      status: 200,
      json: someStatus,
    });
    expect(await call('GET /v1/encryption/cleartext')).toMatchObject({
      status: 200,
      json: { nodeId: 'node-1', left: [] },
    });
    expect(await call('POST /v1/encryption/attest')).toMatchObject({
      status: 200,
      json: { nodeId: 'node-1', release: '1.2.3', left: [], report: someReport },
    });
    expect(await call('POST /v1/certificate')).toMatchObject({
      status: 200,
      json: { certificate: operations.certificateText },
    });
    const calls = ['enableSealedOnly', 'cleartextLeft', 'attest', 'certificate'];
    expect(operations.calls).toEqual(calls.map((name) => [name]));
  });

  it('rewraps the keys, and goes over to other KEKs', async () => {
    const { call, operations } = newApp();
    expect(await call('POST /v1/keys/rewrap')).toMatchObject({
      status: 200,
      json: { kekUris: ['file:/etc/raftseal/kek'] },
    });
    const kekUris = ['file:/a', 'env:B'];
    const used = await call('POST /v1/keks/use', authorized, JSON.stringify({ kekUris }));
    expect(used).toMatchObject({ status: 200, json: someStatus });
    expect(operations.calls).toEqual([['rewrap'], ['useKeks', kekUris]]);
  });

  it('says what needs a key, and retires it', async () => {
    const { call, operations } = newApp();
    operations.blockers = [{ kind: 'backup', backupId: 'monday' }];
    expect(await call('POST /v1/keys/blockers')).toMatchObject({
      status: 200,
      json: { blockers: operations.blockers },
    });
    expect(await call('POST /v1/keys/retire')).toMatchObject({ status: 200, json: someReceipt });
    expect(operations.calls).toEqual([
      ['retirementBlockers', 17],
      ['retire', 17],
    ]);
    for (const dekId of [0, -1, 2 ** 32, 1.5, '17', null]) {
      const answer = await call('POST /v1/keys/retire', authorized, JSON.stringify({ dekId }));
      expect(answer).toMatchObject({ status: 400, json: { code: 'RAFTSEAL_NODE_BAD_REQUEST' } });
    }
    expect(operations.calls).toHaveLength(2);
  });

  it('lists a log from where and as far as asked, the first entry on by default', async () => {
    const { call, operations } = newApp();
    expect(await call('GET /v1/log')).toMatchObject({ status: 200, json: [someEntry] });
    await call('GET /v1/log?shard=3&from=9007199254740993&limit=10000');
    expect(operations.calls).toEqual([
      ['inspectLog', { shardId: 0, from: undefined, limit: 100 }],
      ['inspectLog', { shardId: 3, from: 9_007_199_254_740_993n, limit: 10_000 }],
    ]);
  });

  it('answers with the report of a verification', async () => {
    const { call } = newApp();
    expect(await call('POST /v1/verify')).toMatchObject({ status: 200, json: someReport });
  });
});

describe('a malformed call', () => {
  const malformed: readonly (readonly [route: string, body: string])[] = [
    ['POST /v1/encryption/enable', '{'],
    ['POST /v1/encryption/enable', 'null'],
    ['POST /v1/encryption/enable', '[]'],
    ['POST /v1/encryption/enable', '"waves"'],
    ['POST /v1/encryption/enable', '{"waves":null}'],
    ['POST /v1/encryption/enable', '{"waves":1}'],
    ['POST /v1/encryption/enable', '{"waves":[1]}'],
    ['POST /v1/encryption/enable', '{"waves":[["1"]]}'],
    ['POST /v1/encryption/enable', '{"waves":[[1.5]]}'],
    ['POST /v1/encryption/enable', '{"waves":[[1e400]]}'],
    ['POST /v1/encryption/enable', '{"waves":{"length":0}}'],
    ['POST /v1/keys/rotate', ''],
    ['POST /v1/keys/rotate', '{}'],
    ['POST /v1/keys/rotate', '{"purpose":"certificate"}'],
    ['POST /v1/keys/rotate', '{"purpose":["raft"]}'],
    ['POST /v1/keys/rotate', '{"purpose":"__proto__"}'],
    ['POST /v1/keks/use', '{}'],
    ['POST /v1/keks/use', '{"kekUris":"file:/kek"}'],
    ['POST /v1/keks/use', '{"kekUris":[]}'],
    ['POST /v1/keks/use', '{"kekUris":[""]}'],
    ['POST /v1/keks/use', '{"kekUris":["a\\nb"]}'],
    ['POST /v1/keks/use', '{"kekUris":[1]}'],
    ['POST /v1/keks/use', JSON.stringify({ kekUris: Array(17).fill('file:/kek') })],
    ['POST /v1/keks/use', JSON.stringify({ kekUris: ['x'.repeat(2049)] })],
    ['GET /v1/log?shard=-1', ''],
    ['GET /v1/log?shard=x', ''],
    ['GET /v1/log?shard=', ''],
    ['GET /v1/log?from=0', ''],
    ['GET /v1/log?from=1.5', ''],
    ['GET /v1/log?from=99999999999999999999', ''],
    ['GET /v1/log?limit=0', ''],
    ['GET /v1/log?limit=10001', ''],
    ['GET /v1/log?limit=1e3', ''],
  ];

  it.each(malformed)(
    'invariant 11: %s with the body %o is refused, and does nothing',
    async (route, body) => {
      const { call, operations, internal } = newApp();
      const { status, json } = await call(route, authorized, body);
      expect({ status, json }).toMatchObject({
        status: 400,
        json: { code: 'RAFTSEAL_NODE_BAD_REQUEST' },
      });
      expect(operations.calls).toEqual([]);
      expect(internal).toEqual([]);
    },
  );

  const oversized = JSON.stringify({ purpose: 'raft', padding: 'x'.repeat(64 * 1024) });

  it('is refused where its body is too large, whether or not it says so', async () => {
    const { call, operations } = newApp();
    for (const length of [{}, { 'content-length': `${oversized.length}` }]) {
      const headers = { ...authorized, ...length };
      expect(await call('POST /v1/keys/rotate', headers, oversized)).toMatchObject({
        status: 400,
        json: { code: 'RAFTSEAL_NODE_BAD_REQUEST', message: expect.stringContaining('65536') },
      });
    }
    expect(operations.calls).toEqual([]);
  });

  it('is refused before its body is read where it has no token', async () => {
    const { app } = newApp();
    let chunks = 0;
    const body = new ReadableStream({
      pull: (controller) => {
        chunks++;
        controller.enqueue(new TextEncoder().encode('x'.repeat(1024)));
      },
    });
    const endless = { method: 'POST', body, duplex: 'half' } as const;
    expect((await app.request('/v1/keys/rotate', endless)).status).toBe(401);
    expect(chunks).toBeLessThan(3);
  });

  it('takes a body that is nearly as large as may be', async () => {
    const { call } = newApp();
    const body = oversized.replace('x'.repeat(100), '');
    expect(body.length).toBeGreaterThan(65_400);
    expect((await call('POST /v1/keys/rotate', authorized, body)).status).toBe(200);
  });
});

describe('an operation that fails', () => {
  const failures = [
    [new RaftsealError('RAFTSEAL_NODE_BAD_REQUEST', 'no such shard'), 400],
    [new RaftsealError('RAFTSEAL_NODE_NOT_FOUND', 'no such thing'), 404],
    [new RaftsealError('RAFTSEAL_NODE_KEK_REQUIRED', 'no KEK'), 409],
    [new RaftsealError('RAFTSEAL_SHARD_GROUP_NOT_LEADER', 'not me'), 409],
    [fatalError('RAFTSEAL_SHARD_GROUP_HALTED', 'halted'), 409],
  ] as const;

  it.each(failures)(
    '%s answers with its code and message, and status %i',
    async (failure, status) => {
      for (const route of withToken.filter((other) => other !== 'GET /v1/status')) {
        const { call, operations, internal } = newApp();
        operations.failure = failure;
        const { code, message } = failure;
        expect(await call(route)).toMatchObject({ status, json: { code, message } });
        expect(internal).toEqual([]);
      }
    },
  );

  it('unexpectedly, answers nothing of what failed, and tells the node', async () => {
    const failure = new TypeError('cannot read /secret/path of undefined');
    for (const thrown of [failure, Object.assign(new Error('EIO'), { code: 'EIO' })]) {
      const { call, operations, internal } = newApp();
      operations.failure = thrown;
      const { status, json, text } = await call('POST /v1/verify');
      expect({ status, json }).toMatchObject({
        status: 500,
        json: { code: 'RAFTSEAL_NODE_INTERNAL' },
      });
      expect(text).not.toMatch(/secret|EIO|TypeError|server\.ts/);
      expect(internal).toEqual([thrown]);
    }
  });

  it('never has the token in its answer', async () => {
    for (const route of [...routes, 'GET /v1/none', 'POST /v1/status']) {
      for (const headers of [authorized, {}, { authorization: `Basic ${TOKEN}` }]) {
        for (const failure of [undefined, new Error(`Bearer ${TOKEN}`)]) {
          const { call, operations } = newApp();
          operations.failure = failure;
          expect((await call(route, headers, '{')).text).not.toContain(TOKEN);
          expect((await call(route, headers)).text).not.toContain(TOKEN);
        }
      }
    }
  });
});

describe('the admin server', () => {
  async function listening(operations = new OperationsDouble(), port = 0): Promise<AdminServer> {
    const parts = { operations, token: TOKEN, onInternalError: () => undefined };
    const server = await adminServer({ host: '127.0.0.1', port }, parts);
    onTestFinished(() => server.close());
    return server;
  }

  it('listens on a free port, and answers there until it is closed', async () => {
    const server = await listening();
    const url = `http://127.0.0.1:${server.port}/v1/status`;
    const response = await fetch(url, { headers: authorized });
    expect([response.status, await response.json()]).toEqual([200, someStatus]);
    await server.close();
    await expect(fetch(url, { headers: authorized })).rejects.toThrow();
  });

  it('says which port it cannot have', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void taken.close());
    const address = taken.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    await expect(listening(new OperationsDouble(), port)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_PORT',
      message: expect.stringContaining(`127.0.0.1:${port} (EADDRINUSE)`),
    });
  });

  it('closes although clients keep their connections, or are in the middle of a call', async () => {
    const operations = new OperationsDouble();
    const server = await listening(operations);
    const url = `http://127.0.0.1:${server.port}`;
    await (await fetch(`${url}/health`)).text();
    const called = new Promise<void>((resolve) => {
      operations.verify = () => {
        resolve();
        return new Promise(() => undefined);
      };
    });
    const pending = fetch(`${url}/v1/verify`, { method: 'POST', headers: authorized });
    const ended = expect(pending).rejects.toThrow();
    await called;
    await server.close();
    await ended;
  });

  it('refuses an oversized body that is really sent', async () => {
    const server = await listening();
    const response = await fetch(`http://127.0.0.1:${server.port}/v1/keys/rotate`, {
      method: 'POST',
      headers: authorized,
      body: 'x'.repeat(1024 * 1024),
    });
    expect(response.status).toBe(400);
  });
});
