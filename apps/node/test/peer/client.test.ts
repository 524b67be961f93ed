import { createServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { fatalError, RaftsealError } from '@raftseal/interface';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { PeerClient } from '../../src/peer/client.ts';
import { NotControlLeaderError } from '../../src/peer/not-control-leader.ts';
import { someStatus } from '../admin/operations-double.ts';
import { peerCertificates, pemOf } from './certificates.ts';
import {
  someChallenge,
  someEvidence,
  someIdentity,
  someJoin,
  someJoinReply,
  someNeeds,
  someProof,
  someRegistration,
} from './operations-double.ts';
import { clientWith, PEER_TOKEN, servedPeer, tokenSecurity } from './serving.ts';

const certificates = peerCertificates();
const UNAVAILABLE = { code: 'RAFTSEAL_NODE_PEER_UNAVAILABLE' };
const REFUSED = { code: 'RAFTSEAL_NODE_PEER_REFUSED' };
const MALFORMED = { code: 'RAFTSEAL_NODE_PEER_REPLY' };

/** One call of each operation. */
const operations: Readonly<Record<string, (client: PeerClient, url: string) => Promise<unknown>>> =
  {
    identity: (client, url) => client.identity(url),
    join: (client, url) => client.join(url, someJoin),
    recordRegistration: (client, url) => client.recordRegistration(url, someRegistration),
    proveCapability: (client, url) => client.proveCapability(url, someChallenge),
    keyState: (client, url) => client.keyState(url),
    keyNeeds: (client, url) => client.keyNeeds(url, 17),
    turnOverLogs: (client, url) => client.turnOverLogs(url),
    snapshot: (client, url) => client.snapshot(url, 3),
    nonceRecords: (client, url) => client.nonceRecords(url, { part: 1, of: 4 }),
    nonceEvidence: (client, url) => client.nonceEvidence(url),
    forward: (client, url) => client.forward(url, someCall),
  };
const names = Object.keys(operations);
const someCall = { method: 'POST', path: '/v1/keys/rotate', body: '{"purpose":"raft"}' };

function operate(name: string, client: PeerClient, url: string): Promise<unknown> {
  const act = operations[name];
  if (!act) throw new Error(`there is an operation ${name}`);
  return act(client, url);
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

/** Something that answers as a test says, at its URL. */
async function answering(answer: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listening(createServer(answer))}`;
}

describe.each(['mtls', 'token'])('a client and a server with %s', (kind) => {
  const security = () => (kind === 'mtls' ? certificates.member : tokenSecurity());

  it('agree on what every operation says', async () => {
    const peer = await servedPeer(security());
    const client = await clientWith(security());
    expect(await client.identity(peer.url)).toEqual(someIdentity);
    expect(await client.join(peer.url, someJoin)).toEqual(someJoinReply);
    expect(await client.recordRegistration(peer.url, someRegistration)).toBeUndefined();
    const proof = await client.proveCapability(peer.url, someChallenge);
    expect({ ...proof, mac: Uint8Array.from(proof.mac) }).toEqual(someProof);
    expect(await client.keyState(peer.url)).toEqual(Buffer.from(peer.operations.keyStateBytes));
    expect(await client.keyNeeds(peer.url, 17)).toEqual(someNeeds);
    expect(await client.turnOverLogs(peer.url)).toEqual([0, 2]);
    expect(await client.nonceEvidence(peer.url)).toEqual(someEvidence);
    expect(peer.operations.calls).toEqual([
      ['identity'],
      ['join', someJoin],
      ['recordRegistration', someRegistration],
      ['proveCapability', someChallenge],
      ['keyState'],
      ['keyNeeds', 17],
      ['turnOverLogs'],
      ['nonceEvidence'],
    ]);
  });

  it('carry a key state of megabytes', async () => {
    const peer = await servedPeer(security());
    peer.operations.keyStateBytes = Buffer.alloc(15 * 1024 * 1024, 7);
    const client = await clientWith(security());
    const keyState = await client.keyState(peer.url);
    expect(keyState.equals(peer.operations.keyStateBytes)).toBe(true);
  });
});

describe('a forwarded admin call', () => {
  it('is answered by the other node, and comes back as it was answered', async () => {
    const peer = await servedPeer(tokenSecurity());
    const client = await clientWith(tokenSecurity());
    const response = await client.forward(peer.url, someCall);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(await response.json()).toEqual({ purpose: 'raft', dekId: 4_294_967_294 });
    expect(peer.admin.calls).toEqual([['rotate', 'raft']]);
    const get = { method: 'GET', path: '/v1/log?shard=2&limit=3', body: '' };
    expect((await client.forward(peer.url, get)).status).toBe(200);
    expect(peer.admin.calls.at(-1)).toEqual([
      'inspectLog',
      { shardId: 2, from: undefined, limit: 3 },
    ]);
    const status = await client.forward(peer.url, { ...get, path: '/v1/status' });
    expect(await status.json()).toEqual(someStatus);
  });

  it('that is refused comes back as the refusal', async () => {
    const peer = await servedPeer(tokenSecurity());
    const client = await clientWith(tokenSecurity());
    peer.admin.failure = new RaftsealError('RAFTSEAL_NODE_KEK_REQUIRED', 'no KEK');
    const response = await client.forward(peer.url, someCall);
    expect([response.status, await response.json()]).toEqual([
      409,
      { code: 'RAFTSEAL_NODE_KEK_REQUIRED', message: 'no KEK' },
    ]);
  });

  it('is sent once, whatever becomes of it', async () => {
    let seen = 0;
    const url = await answering(({ socket }) => {
      seen++;
      socket.destroy();
    });
    const client = await clientWith(tokenSecurity());
    await expect(client.forward(url, someCall)).rejects.toMatchObject(UNAVAILABLE);
    expect(seen).toBe(1);
  });
});

describe('a forwarded admin call that takes long', () => {
  it('may take as long as its caller says, and ends when its caller has enough', async () => {
    const url = await answering(() => undefined);
    const client = await clientWith(tokenSecurity());
    const late = client.forward(url, { ...someCall, timeoutMs: 50 });
    await expect(late).rejects.toMatchObject({
      ...UNAVAILABLE,
      message: expect.stringContaining('no answer within 50 ms'),
    });
    const enough = new AbortController();
    const waiting = client.forward(url, { ...someCall, timeoutMs: 600_000 }, enough.signal);
    const reason = new RaftsealError('RAFTSEAL_NODE_PEER_UNAVAILABLE', 'it is gone');
    setImmediate(() => enough.abort(reason));
    await expect(waiting).rejects.toBe(reason);
    await expect(client.forward(url, someCall, enough.signal)).rejects.toBe(reason);
  });
});

describe('a coded error of the other node', () => {
  const coded = names.filter((name) => name !== 'identity' && name !== 'forward');

  it.each(coded)('comes back from %s with its code, and is not fatal', async (name) => {
    const peer = await servedPeer(tokenSecurity());
    const client = await clientWith(tokenSecurity());
    for (const failure of [
      new RaftsealError('RAFTSEAL_SHARD_GROUP_NOT_LEADER', 'not me'),
      fatalError('RAFTSEAL_SHARD_GROUP_HALTED', 'halted'),
    ]) {
      peer.operations.failure = failure;
      const failing = operate(name, client, peer.url);
      await expect(failing).rejects.toBeInstanceOf(RaftsealError);
      await expect(failing).rejects.toMatchObject({
        code: failure.code,
        fatal: false,
        message: expect.stringMatching(new RegExp(`${peer.url}.*${failure.message}`)),
      });
    }
  });

  it.each(['https://10.0.0.3:8379', undefined])('says that the leader is at %s', async (leader) => {
    const peer = await servedPeer(tokenSecurity());
    const client = await clientWith(tokenSecurity());
    peer.operations.failure = new NotControlLeaderError(leader);
    const joining = client.join(peer.url, someJoin);
    await expect(joining).rejects.toBeInstanceOf(NotControlLeaderError);
    await expect(joining).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_NOT_CONTROL_LEADER',
      leaderUrl: leader,
    });
  });

  it('names no leader that is no address of HTTP', async () => {
    for (const leader of ['javascript:alert(1)', 'file:///etc/passwd', '', 7, null, {}]) {
      const url = await answering((_, response) => {
        const code = 'RAFTSEAL_NODE_NOT_CONTROL_LEADER';
        response.writeHead(421).end(JSON.stringify({ code, message: 'not me', leader }));
      });
      const client = await clientWith(tokenSecurity());
      await expect(client.join(url, someJoin)).rejects.toMatchObject({ leaderUrl: undefined });
    }
  });

  it('that is unexpected there is told as that', async () => {
    const peer = await servedPeer(tokenSecurity());
    const client = await clientWith(tokenSecurity());
    peer.operations.failure = new TypeError('secret');
    await expect(client.keyState(peer.url)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_INTERNAL',
      message: expect.not.stringContaining('secret'),
    });
  });
});

describe('a node that is not to be trusted', () => {
  const { member, stranger, expired, selfSigned, elsewhere, listenerOnly } = certificates;
  const servers = { stranger, expired, selfSigned, elsewhere };

  describe.each(Object.entries(servers))('with a certificate that is %s', (_, files) => {
    it.each(names)('gets nothing by %s', async (name) => {
      let heard = 0;
      const server = createHttpsServer(pemOf(files), () => heard++);
      const url = `https://127.0.0.1:${await listening(server)}`;
      const client = await clientWith(member);
      await expect(operate(name, client, url)).rejects.toMatchObject(REFUSED);
      expect(heard).toBe(0);
    });
  });

  it('is told from one by the name it is called by', async () => {
    const server = createHttpsServer(pemOf(elsewhere), (_, response) => response.end('{}'));
    const port = await listening(server);
    const client = await clientWith(member);
    // The certificate is of 127.0.0.2, and of no other name.
    const byAnotherName = client.identity(`https://localhost:${port}`);
    await expect(byAnotherName).rejects.toMatchObject(REFUSED);
  });

  it.each(names)('without TLS gets no token and no %s', async (name) => {
    const heard: unknown[] = [];
    const url = await answering(({ headers }, response) => {
      heard.push(headers);
      response.end('{}');
    });
    const client = await clientWith(member);
    await expect(operate(name, client, url)).rejects.toMatchObject(REFUSED);
    expect(heard).toEqual([]);
  });

  const elsewhereUrls = [
    'http://10.255.255.1:8379',
    'http://peer.example.org:8379',
    'http://127.0.0.1.example.org:8379',
    'https://127.0.0.1:8379',
    'http://[2001:db8::1]:8379',
  ];

  it.each(elsewhereUrls)('at %s gets no token', async (url) => {
    const client = await clientWith(tokenSecurity());
    for (const name of names) {
      await expect(operate(name, client, url)).rejects.toMatchObject({
        ...REFUSED,
        message: expect.not.stringContaining(PEER_TOKEN),
      });
    }
  });

  it.each(names)('that does not take this one for a peer refuses %s', async (name) => {
    const peer = await servedPeer(tokenSecurity());
    const client = await clientWith(tokenSecurity('another-token-than-theirs'));
    await expect(operate(name, client, peer.url)).rejects.toMatchObject(REFUSED);
    expect([...peer.operations.calls, ...peer.admin.calls]).toEqual([]);
  });

  it.each(names)('does not say why it refuses the certificate of %s', async (name) => {
    const peer = await servedPeer(member);
    const client = await clientWith({ ...listenerOnly, caPath: member.caPath });
    await expect(operate(name, client, peer.url)).rejects.toMatchObject({
      ...UNAVAILABLE,
      message: expect.stringContaining('does not accept the certificate of this node'),
    });
  });
});

describe('a node that does not answer', () => {
  it.each(names)('leaves %s without a connection', async (name) => {
    const server = createTcpServer();
    const port = await listening(server);
    await new Promise((resolve) => server.close(resolve));
    const client = await clientWith(tokenSecurity());
    const calling = operate(name, client, `http://127.0.0.1:${port}`);
    await expect(calling).rejects.toMatchObject({
      ...UNAVAILABLE,
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  const short = { callMs: 50, longCallMs: 50, snapshotIdleMs: 50 };

  it.each(names)('is not waited for by %s beyond its time', async (name) => {
    const silent = await answering(() => undefined);
    const client = await clientWith(tokenSecurity(), short);
    await expect(operate(name, client, silent)).rejects.toMatchObject({
      ...UNAVAILABLE,
      message: expect.stringContaining('no answer within 50 ms'),
    });
  });

  it.each(names)('in the middle of its reply is not waited for by %s either', async (name) => {
    const halting = await answering((_, response) => {
      response.writeHead(200, { 'content-length': 1000 }).write('{"');
    });
    const client = await clientWith(tokenSecurity(), short);
    await expect(operate(name, client, halting)).rejects.toMatchObject(UNAVAILABLE);
  });

  it.each(names)('or breaks off in the middle of its reply fails %s', async (name) => {
    const breaking = await answering(({ socket }, response) => {
      response.writeHead(200).write('{}', () => socket.destroy());
    });
    const client = await clientWith(tokenSecurity());
    await expect(operate(name, client, breaking)).rejects.toMatchObject(UNAVAILABLE);
  });

  it.each(names)('does not keep %s when the client is closed', async (name) => {
    let called: () => void = () => undefined;
    const underWay = new Promise<void>((resolve) => {
      called = resolve;
    });
    const silent = await answering(() => called());
    const client = await clientWith(tokenSecurity());
    const calling = expect(operate(name, client, silent)).rejects.toMatchObject(UNAVAILABLE);
    await underWay;
    client.close();
    await calling;
    await expect(operate(name, client, silent)).rejects.toMatchObject(UNAVAILABLE);
  });
});

describe('a connection that is kept', () => {
  it('is used again', async () => {
    const peers = new Set<unknown>();
    const url = await answering(({ socket }, response) => {
      peers.add(socket);
      response.end(JSON.stringify(someIdentity));
    });
    const client = await clientWith(tokenSecurity());
    for (let i = 0; i < 5; i++) await client.identity(url);
    expect(peers.size).toBe(1);
  });

  it('and was closed as it was used again is replaced', async () => {
    const uses = new Map<unknown, number>();
    const url = await answering(({ socket }, response) => {
      const use = (uses.get(socket) ?? 0) + 1;
      uses.set(socket, use);
      if (use === 2) socket.destroy();
      else response.end(JSON.stringify(someIdentity));
    });
    const client = await clientWith(tokenSecurity());
    for (let i = 0; i < 4; i++) expect(await client.identity(url)).toEqual(someIdentity);
    expect(uses.size).toBeGreaterThan(1);
  });
});

describe('a reply that is not as expected', () => {
  const identity = (changes: object): string => JSON.stringify({ ...someIdentity, ...changes });
  const replies: readonly (readonly [number, string])[] = [
    [200, ''],
    [200, 'null'],
    [200, '[]'],
    [200, '"text"'],
    [200, '{'],
    [200, '{}'],
    [204, ''],
    [302, identity({})],
    [404, '<html>not found</html>'],
    [500, '{"code":"RAFTSEAL_NO_SUCH_CODE","message":"?"}'],
    [500, '{"code":"toString","message":"?"}'],
    [500, '{"code":"RAFTSEAL_NODE_INTERNAL"}'],
    [500, '{"code":["RAFTSEAL_NODE_INTERNAL"],"message":"?"}'],
    [200, identity({ nodeId: '' })],
    [200, identity({ nodeId: 'a\u0000b' })],
    [200, identity({ nodeId: 7 })],
    [200, identity({ formatVersion: '1' })],
    [200, identity({ formatVersion: 0 })],
    [200, identity({ clusterId: '' })],
    [200, identity({ clusterId: `${someIdentity.clusterId}00` })],
    [200, identity({ clusterId: undefined })],
    [200, identity({ shardCount: 0 })],
    [200, identity({ shardCount: 1025 })],
    [200, identity({ shardCount: null })],
  ];

  it.each(replies)('of status %i and %s is refused', async (status, text) => {
    const url = await answering((_, response) => response.writeHead(status).end(text));
    const client = await clientWith(tokenSecurity());
    await expect(client.identity(url)).rejects.toMatchObject(MALFORMED);
  });

  it.each([
    ['join', '{"clusterId":null,"shardCount":1,"members":"node-1"}'],
    ['join', '{"clusterId":null,"shardCount":1,"members":[1]}'],
    ['join', '{"clusterId":"00","shardCount":1,"members":[]}'],
    ['proveCapability', '{"nodeId":"n","formatVersion":1,"release":"1","mac":"AAAA"}'],
    ['proveCapability', '{"nodeId":"n","formatVersion":1,"release":"1"}'],
  ])('to %s such as %s is refused', async (name, text) => {
    const url = await answering((_, response) => response.end(text));
    const client = await clientWith(tokenSecurity());
    await expect(operate(name, client, url)).rejects.toMatchObject(MALFORMED);
  });

  it.each(names)('without end is not taken from %s', async (name) => {
    const url = await answering((_, response) => {
      const more = (): void => {
        while (response.writable && response.write(Buffer.alloc(1024 * 1024, 0xff)));
        response.once('drain', more);
      };
      more();
    });
    const client = await clientWith(tokenSecurity());
    await expect(operate(name, client, url)).rejects.toMatchObject(MALFORMED);
  });

  it('is refused where it is no HTTP', async () => {
    const server = createTcpServer((socket) => socket.end('-ERR unknown command\r\n'));
    const port = await listening(server);
    const client = await clientWith(tokenSecurity());
    const calling = client.identity(`http://127.0.0.1:${port}`);
    await expect(calling).rejects.toMatchObject(MALFORMED);
  });
});
