import { request as httpRequest } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { connect } from 'node:net';
import { RaftsealError } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { NotControlLeaderError } from '../../src/peer/not-control-leader.ts';
import { peerApp } from '../../src/peer/server.ts';
import { OperationsDouble } from '../admin/operations-double.ts';
import { type MutualTls, peerCertificates, pemOf } from './certificates.ts';
import { PeerOperationsDouble, someIdentity } from './operations-double.ts';
import { accessOf, PEER_TOKEN, type ServedPeer, servedPeer, tokenSecurity } from './serving.ts';

const certificates = peerCertificates();

/** A call that each route takes. A route that is not here fails the test, and so does one too many. */
const samples: Readonly<Record<string, { readonly path?: string; readonly body?: object }>> = {
  'GET /v1/identity': {},
  'POST /v1/members': {
    body: {
      identity: someIdentity,
      role: 'voter',
      peer: { host: '127.0.0.1', port: 65_535 },
    },
  },
  'POST /v1/registrations': {
    body: { nodeId: 'n', dekId: 1, epoch: 1, claimId: 'AAAAAAAAAAAAAAAAAAAAAA==' },
  },
  'POST /v1/capability': {
    body: {
      binding: { clusterId: 'AAAAAAAAAAAAAAAAAAAAAA==', dekId: 1, purpose: 'index' },
      wraps: [{ kekUri: 'file:/k', bytes: 'AAAA' }],
      nonce: Buffer.alloc(32).toString('base64'),
    },
  },
  'GET /v1/key-state': {},
  'POST /v1/key-needs': { body: { dekId: 17 } },
  'POST /v1/logs/turn-over': { body: {} },
  'GET /v1/snapshots/:shardId': { path: '/v1/snapshots/3' },
  'GET /v1/nonces/records': { path: '/v1/nonces/records?part=0&of=1' },
  'GET /v1/nonces/evidence': {},
  'GET /admin/metrics': {},
  'GET /admin/v1/status': {},
  'POST /admin/v1/encryption/enable': { body: {} },
  'POST /admin/v1/keys/rotate': { body: { purpose: 'raft' } },
  'POST /admin/v1/encryption/seal-only': { body: {} },
  'GET /admin/v1/encryption/cleartext': {},
  'POST /admin/v1/encryption/attest': { body: {} },
  'POST /admin/v1/certificate': { body: {} },
  'POST /admin/v1/keys/rewrap': { body: {} },
  'POST /admin/v1/keys/blockers': { body: { dekId: 17 } },
  'POST /admin/v1/keys/retire': { body: { dekId: 17 } },
  'POST /admin/v1/keks/use': { body: { kekUris: ['file:/kek'] } },
  'GET /admin/v1/log': {},
  'POST /admin/v1/verify': {},
  'GET /admin/v1/nonces/audit': {},
  'GET /admin/v1/digest': {},
  'GET /admin/v1/backups': {},
  'POST /admin/v1/backups/create': { body: { path: '/backups/1' } },
  'POST /admin/v1/backups/register': { body: { backupId: 'backup-1' } },
  'POST /admin/v1/backups/forget': { body: { backupId: 'backup-1' } },
  'POST /admin/v1/members/promote': { body: { nodeId: 'node-1' } },
  'POST /admin/v1/members/remove': { body: { nodeId: 'node-1' } },
  'POST /admin/v1/shards/prefer': { body: { shard: 3, nodeId: null } },
};

const registered = peerApp({
  access: { kind: 'token', token: PEER_TOKEN },
  operations: new PeerOperationsDouble(),
  admin: new OperationsDouble(),
  onInternalError: () => undefined,
})
  .routes.filter(({ method }) => method !== 'ALL')
  .map(({ method, path }) => `${method} ${path}`);
/** A route with a step before its answer is registered twice. */
const routes = [...new Set(registered)];

interface Answer {
  readonly status: number;
  readonly text: string;
}

interface Caller {
  readonly tls?: RequestOptions;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Rejects where the connection ends without an answer. */
function call(
  { port }: ServedPeer,
  route: string,
  { tls, headers = {} }: Caller,
  body: string | undefined = bodyOf(route),
): Promise<Answer> {
  const [method = '', path = ''] = route.split(' ');
  const options = { host: '127.0.0.1', port, method, headers, agent: false as const };
  const to = { ...options, path: samples[route]?.path ?? path };
  return new Promise((resolve, reject) => {
    const request = tls ? httpsRequest({ ...to, ...tls }) : httpRequest(to);
    request.once('error', reject).once('response', (response) => {
      let text = '';
      response.setEncoding('latin1').on('data', (chunk) => {
        text += String(chunk);
      });
      response.once('error', reject);
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.end(body);
  });
}

function bodyOf(route: string): string | undefined {
  const { body } = samples[route] ?? {};
  return body && JSON.stringify(body);
}

function callsOf({ operations, admin }: ServedPeer): readonly (readonly unknown[])[] {
  return [...operations.calls, ...admin.calls];
}

/** Takes whatever the server shows: what is tested is what the server takes. */
function withCertificate(files: MutualTls): Caller {
  return { tls: { ...pemOf(files), rejectUnauthorized: false } };
}

it('has a sample call for every route', () => {
  expect(new Set(routes)).toEqual(new Set(Object.keys(samples)));
});

describe('a peer server with certificates', () => {
  const { member, renewed, expired, listenerOnly, stranger, selfSigned } = certificates;
  const bearer = { authorization: `Bearer ${PEER_TOKEN}` };
  const wrong: readonly (readonly [string, Caller])[] = [
    ['no certificate', { tls: { rejectUnauthorized: false } }],
    ['a token in place of one', { tls: { rejectUnauthorized: false }, headers: bearer }],
    ['a certificate of another CA', withCertificate(stranger)],
    ['a certificate that signs itself', withCertificate(selfSigned)],
    ['a certificate that has expired', withCertificate(expired)],
    ['a certificate for listening alone', withCertificate(listenerOnly)],
    ['no TLS', { headers: bearer }],
  ];

  describe.each(routes)('%s', (route) => {
    it.each(wrong)('is not answered to a caller with %s', async (_, caller) => {
      const peer = await servedPeer(member);
      await expect(call(peer, route, caller)).rejects.toThrow();
      expect(callsOf(peer)).toEqual([]);
    });

    it.each([member, renewed])('is answered to a node of the cluster', async (files) => {
      const peer = await servedPeer(member);
      const { status } = await call(peer, route, withCertificate(files));
      expect(status).toBeLessThan(300);
    });
  });

  it('speaks TLS 1.2 and 1.3, and nothing older', async () => {
    const peer = await servedPeer(member);
    const using = (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3'): Promise<Answer> => {
      const old = version === 'TLSv1.1' ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {};
      const versions = { minVersion: version, maxVersion: version, ...old };
      return call(peer, 'GET /v1/identity', {
        tls: { ...withCertificate(member).tls, ...versions },
      });
    };
    await expect(using('TLSv1.1')).rejects.toThrow();
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      expect((await using(version)).status).toBe(200);
    }
  });

  it('answers nothing where the listener in front of it has asked for no certificate', async () => {
    const operations = new PeerOperationsDouble();
    const admin = new OperationsDouble();
    const access = await accessOf(member);
    const onInternalError = (): void => undefined;
    const app = peerApp({ access, operations, admin, onInternalError });
    for (const route of routes) {
      const [method = '', path = ''] = route.split(' ');
      for (const socket of [undefined, {}, { authorized: true, encrypted: true }]) {
        const environment = { incoming: { socket }, outgoing: {} };
        const response = await app.request(path, { method }, environment);
        expect(response.status).toBe(401);
      }
    }
    expect([...operations.calls, ...admin.calls]).toEqual([]);
  });
});

describe('a peer server with a token', () => {
  const wrong: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['no token', {}],
    ['another token', { authorization: `Bearer ${PEER_TOKEN}x` }],
    ['a part of the token', { authorization: `Bearer ${PEER_TOKEN.slice(0, -1)}` }],
    ['the token under another scheme', { authorization: `Basic ${PEER_TOKEN}` }],
    ['the token alone', { authorization: PEER_TOKEN }],
    ['the token in another header', { cookie: PEER_TOKEN, 'x-token': PEER_TOKEN }],
  ];

  describe.each(routes)('%s', (route) => {
    it.each(wrong)('is not answered to a caller with %s', async (_, headers) => {
      const peer = await servedPeer(tokenSecurity());
      const { status, text } = await call(peer, route, { headers });
      expect({ status, ...JSON.parse(text) }).toMatchObject({
        status: 401,
        code: 'RAFTSEAL_NODE_PEER_REFUSED',
      });
      expect(text).not.toContain(PEER_TOKEN);
      expect(callsOf(peer)).toEqual([]);
    });

    it('is answered to a node with the token', async () => {
      const peer = await servedPeer(tokenSecurity());
      expect((await call(peer, route, rightful)).status).toBeLessThan(300);
    });
  });

  it.each(['GET /', 'GET /v1', 'DELETE /v1/members', 'GET /admin', 'GET /admin/health'])(
    'tells who has no token nothing of %s, and a node that there is no such call',
    async (route) => {
      const peer = await servedPeer(tokenSecurity());
      expect((await call(peer, route, {})).status).toBe(401);
      const { status, text } = await call(peer, route, rightful);
      expect({ status, ...JSON.parse(text) }).toMatchObject({
        status: 404,
        code: 'RAFTSEAL_NODE_NOT_FOUND',
      });
    },
  );
});

const rightful: Caller = { headers: { authorization: `Bearer ${PEER_TOKEN}` } };

describe('a call that is not as expected', () => {
  const bad: readonly (readonly [string, string, unknown])[] = [
    ...everyFieldWrong('POST /v1/members'),
    ...everyFieldWrong('POST /v1/registrations'),
    ...everyFieldWrong('POST /v1/capability'),
    ['POST /v1/registrations', 'an epoch of 0', { epoch: 0 }],
    ['POST /v1/registrations', 'an epoch above the last', { epoch: 65_536 }],
    ['POST /v1/registrations', 'a fraction for an epoch', { epoch: 1.5 }],
    ['POST /v1/registrations', 'a DEK id of 0', { dekId: 0 }],
    ['POST /v1/registrations', 'a DEK id of 33 bits', { dekId: 4_294_967_296 }],
    ['POST /v1/registrations', 'a claim id that is short', { claimId: 'AAAA' }],
    ['POST /v1/registrations', 'base64 with rubbish', { claimId: 'AAAAAAAAAAAAAAAAAAAAAA== ' }],
    ['POST /v1/registrations', 'a node id of two lines', { nodeId: 'a\nb' }],
    ['POST /v1/registrations', 'an empty node id', { nodeId: '' }],
    ['POST /v1/registrations', 'a node id without end', { nodeId: 'x'.repeat(257) }],
    ['POST /v1/members', 'a role that is none', { role: 'leader' }],
    ['POST /v1/members', 'port 0', { peer: { host: 'a', port: 0 } }],
    ['POST /v1/members', 'a port too high', { peer: { host: 'a', port: 65_536 } }],
    ['POST /v1/members', 'a cluster id in capitals', { identity: clusterId('A'.repeat(32)) }],
    ['POST /v1/members', 'a short cluster id', { identity: clusterId('00') }],
    ['POST /v1/capability', 'a nonce that is short', { nonce: 'AAAA' }],
    ['POST /v1/capability', 'no wrap', { wraps: [] }],
    ['POST /v1/capability', 'a wrap that is empty', { wraps: [{ kekUri: 'a', bytes: '' }] }],
    ['POST /v1/capability', 'a wrap of no KEK', { wraps: [{ kekUri: '', bytes: 'AAAA' }] }],
    [
      'POST /v1/capability',
      'wraps without end',
      { wraps: Array(17).fill({ kekUri: 'a', bytes: 'AAAA' }) },
    ],
  ];

  it.each(bad)(
    'invariant 11: %s with %s is refused, and does nothing',
    async (route, _, changes) => {
      const peer = await servedPeer(tokenSecurity());
      const body = JSON.stringify({ ...samples[route]?.body, ...(changes as object) });
      const { status, text } = await call(peer, route, rightful, body);
      expect({ status, ...JSON.parse(text) }).toMatchObject({
        status: 400,
        code: 'RAFTSEAL_NODE_BAD_REQUEST',
      });
      expect(callsOf(peer)).toEqual([]);
      expect(peer.internal).toEqual([]);
    },
  );

  it.each(['?', '?part=0', '?part=1&of=1', '?part=-1&of=2', '?part=x&of=2'])(
    'has no part of nonce records %s',
    async (query) => {
      const peer = await servedPeer(tokenSecurity());
      const { status } = await call(peer, `GET /v1/nonces/records${query}`, rightful);
      expect([status, peer.operations.calls]).toEqual([400, []]);
    },
  );

  it.each(['x', '-1', '1e3', '99999', '%00'])('has no snapshot of shard %s', async (shard) => {
    const peer = await servedPeer(tokenSecurity());
    const { status } = await call(peer, `GET /v1/snapshots/${shard}`, rightful);
    expect(status).toBe(400);
    expect(callsOf(peer)).toEqual([]);
  });

  const posts = routes.filter((route) => route.startsWith('POST'));

  it.each(posts)('%s is refused with a body that is too large', async (route) => {
    const peer = await servedPeer(tokenSecurity());
    const body = JSON.stringify({ ...samples[route]?.body, padding: 'x'.repeat(64 * 1024) });
    const { status, text } = await call(peer, route, rightful, body);
    expect({ status, ...JSON.parse(text) }).toMatchObject({
      status: 400,
      message: expect.stringContaining('65536'),
    });
    expect(callsOf(peer)).toEqual([]);
  });

  it.each(posts)(
    '%s that breaks off in its body does nothing, and is no failure',
    async (route) => {
      const framings = ['content-length: 1000', 'transfer-encoding: chunked'];
      for (const framing of framings) {
        const peer = await servedPeer(tokenSecurity());
        const head = [
          `${route} HTTP/1.1`,
          'host: peer',
          `authorization: Bearer ${PEER_TOKEN}`,
          framing,
        ];
        const socket = connect(peer.port, '127.0.0.1');
        await new Promise<void>((sent) =>
          socket.write(`${head.join('\r\n')}\r\n\r\n2\r\n{}`, () => sent()),
        );
        const ended = new Promise((resolve) => socket.once('close', resolve));
        socket.resetAndDestroy();
        await ended;
        await call(peer, 'GET /v1/identity', rightful);
        await peer.close();
        // What is asked for without a body is done before the break shows.
        const done = callsOf(peer).filter(([name]) => name !== 'identity' && name !== 'verify');
        expect(done).toEqual([]);
        expect(peer.internal).toEqual([]);
      }
    },
  );

  it('is refused with a head that is too large', async () => {
    const peer = await servedPeer(tokenSecurity());
    const headers = { ...rightful.headers, 'x-padding': 'x'.repeat(9 * 1024) };
    expect((await call(peer, 'GET /v1/identity', { headers })).status).toBe(431);
    expect(callsOf(peer)).toEqual([]);
  });
});

/** The sample of a call with each of its fields left out, and of a type that none has. */
function everyFieldWrong(route: string): [string, string, unknown][] {
  return Object.keys(samples[route]?.body ?? {}).flatMap((name) => [
    [route, `no ${name}`, { [name]: undefined }],
    [route, `a list for ${name}`, { [name]: [] }],
    [route, `null for ${name}`, { [name]: null }],
  ]);
}

function clusterId(text: string): object {
  return { ...someIdentity, clusterId: text };
}

describe('an operation that fails', () => {
  const withOperations = routes.filter((route) => !/identity|status/.test(route));

  it.each(withOperations)('%s answers with its code and message', async (route) => {
    const peer = await servedPeer(tokenSecurity());
    const failure = new RaftsealError('RAFTSEAL_SHARD_GROUP_NOT_LEADER', 'not me');
    Object.assign(peer.operations, { failure });
    Object.assign(peer.admin, { failure });
    const { status, text } = await call(peer, route, rightful);
    const { code, message } = failure;
    expect({ status, ...JSON.parse(text) }).toEqual({ status: 409, code, message });
  });

  it.each(withOperations)('%s tells the caller nothing it does not expect', async (route) => {
    const peer = await servedPeer(tokenSecurity());
    const failure = new TypeError(`cannot read /secret of ${PEER_TOKEN}`);
    Object.assign(peer.operations, { failure });
    Object.assign(peer.admin, { failure });
    const { status, text } = await call(peer, route, rightful);
    expect({ status, ...JSON.parse(text) }).toMatchObject({
      status: 500,
      code: 'RAFTSEAL_NODE_INTERNAL',
    });
    expect(text).not.toMatch(/secret|TypeError|server\.ts/);
    expect(text).not.toContain(PEER_TOKEN);
    expect(peer.internal).toEqual([failure]);
  });

  it('for want of leadership, says where the leader is if that is known', async () => {
    const peer = await servedPeer(tokenSecurity());
    for (const leader of ['https://10.0.0.3:8379', undefined]) {
      peer.operations.failure = new NotControlLeaderError(leader);
      const { status, text } = await call(peer, 'POST /v1/members', rightful);
      expect({ status, ...JSON.parse(text) }).toEqual({
        status: 421,
        code: 'RAFTSEAL_NODE_NOT_CONTROL_LEADER',
        message: expect.stringContaining(leader ?? 'none is known'),
        ...(leader ? { leader } : {}),
      });
    }
  });
});
