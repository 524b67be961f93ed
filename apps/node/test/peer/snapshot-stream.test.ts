import { createServer, type RequestListener } from 'node:http';
import { connect } from 'node:net';
import { RaftsealError } from '@raftseal/interface';
import { describe, expect, it, onTestFinished } from 'vitest';
import { peerCertificates } from './certificates.ts';
import { SnapshotDouble } from './operations-double.ts';
import { clientWith, PEER_TOKEN, servedPeer, tokenSecurity } from './serving.ts';

const certificates = peerCertificates();
const UNAVAILABLE = { code: 'RAFTSEAL_NODE_PEER_UNAVAILABLE' };
const MALFORMED = { code: 'RAFTSEAL_NODE_PEER_REPLY' };
const CHUNK_BYTES = 64 * 1024;

async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of chunks) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function peerSending(snapshot: SnapshotDouble, idleMs = 30_000) {
  const peer = await servedPeer(tokenSecurity(), { snapshotIdleMs: idleMs });
  peer.operations.snapshotToSend = snapshot;
  return peer;
}

/** Bytes in place of a peer's reply. */
async function replying(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
}

function prefixed(length: number, rest: Uint8Array): Buffer {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(length);
  return Buffer.concat([prefix, rest]);
}

describe.each(['mtls', 'token'])('a snapshot sent with %s', (kind) => {
  const security = () => (kind === 'mtls' ? certificates.member : tokenSecurity());

  const scripts = [
    { chunkCount: 0 },
    { chunkCount: 0, header: new Uint8Array(0) },
    { chunkCount: 1, chunkBytes: 1 },
    { chunkCount: 3, header: Buffer.alloc(3 * 1024 * 1024, 5) },
    { chunkCount: 200, chunkBytes: CHUNK_BYTES },
  ];

  it.each(scripts)('arrives as it was: %o', async (script) => {
    const peer = await servedPeer(security());
    const snapshot = new SnapshotDouble(script);
    peer.operations.snapshotToSend = snapshot;
    const client = await clientWith(security());
    const received = await client.snapshot(peer.url, 1023);
    expect(received.header.equals(snapshot.header)).toBe(true);
    expect((await collect(received.chunks)).equals(snapshot.bytes)).toBe(true);
    await snapshot.released;
    expect(peer.operations.calls).toEqual([['snapshot', 1023]]);
    expect(peer.internal).toEqual([]);
  });
});

describe('a snapshot that is taken slowly', () => {
  it('is made no faster than it is taken', async () => {
    const snapshot = new SnapshotDouble({ chunkCount: 2000, chunkBytes: CHUNK_BYTES });
    const peer = await peerSending(snapshot);
    const client = await clientWith(tokenSecurity());
    const received = await client.snapshot(peer.url, 0);
    const first = await received.chunks.next();
    expect(first.done).toBe(false);
    // Whatever fits between the two is made; then the source rests until more is taken.
    let made = -1;
    while (made !== snapshot.chunksMade) {
      made = snapshot.chunksMade;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(snapshot.chunksMade).toBeLessThan(1000);
    expect(snapshot.releases).toBe(0);
    expect((await collect(received.chunks)).length).toBeGreaterThan(1999 * CHUNK_BYTES);
    expect(snapshot.chunksMade).toBe(2000);
  });

  it('is not held for a receiver that takes nothing', async () => {
    const snapshot = new SnapshotDouble({ chunkCount: 2000, chunkBytes: CHUNK_BYTES });
    const peer = await peerSending(snapshot, 100);
    const socket = connect(peer.port, '127.0.0.1').on('error', () => undefined);
    onTestFinished(() => void socket.destroy());
    const head = [
      'GET /v1/snapshots/0 HTTP/1.1',
      'Host: peer',
      `Authorization: Bearer ${PEER_TOKEN}`,
    ];
    socket.pause().write(`${head.join('\r\n')}\r\n\r\n`);
    await snapshot.released;
    expect(snapshot.chunksMade).toBeLessThan(2000);
    expect(peer.internal).toEqual([]);
  });
});

describe('the receiver of a snapshot', () => {
  const long = { chunkCount: 100_000, chunkBytes: CHUNK_BYTES };

  const endings: readonly (readonly [
    string,
    (chunks: AsyncGenerator<Buffer>) => Promise<unknown>,
  ])[] = [
    [
      'leaves its loop',
      async (chunks) => {
        for await (const chunk of chunks) if (chunk.length > 0) break;
      },
    ],
    [
      'fails in its loop',
      async (chunks) => {
        for await (const _ of chunks) throw new Error('no space');
      },
    ],
    ['returns from the iteration before it began', (chunks) => chunks.return(undefined)],
  ];

  it.each(endings)('%s: the sender releases it', async (_, end) => {
    const snapshot = new SnapshotDouble(long);
    const peer = await peerSending(snapshot);
    const client = await clientWith(tokenSecurity());
    const received = await client.snapshot(peer.url, 0);
    await end(received.chunks).catch(() => undefined);
    received.release();
    await snapshot.released;
    expect(peer.internal).toEqual([]);
  });

  it('releases it, while it waits for more or not: so does the sender', async () => {
    for (const script of [{ ...long, stallsAt: 2 }, long]) {
      const snapshot = new SnapshotDouble(script);
      const peer = await peerSending(snapshot);
      const client = await clientWith(tokenSecurity());
      const received = await client.snapshot(peer.url, 0);
      const taking = expect(collect(received.chunks)).rejects.toMatchObject(UNAVAILABLE);
      received.release();
      received.release();
      await taking;
      await snapshot.released;
      expect(peer.internal).toEqual([]);
    }
  });

  it('goes away before it is sent anything: the sender releases it', async () => {
    const snapshot = new SnapshotDouble(long);
    const peer = await servedPeer(tokenSecurity());
    let taken: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      taken = resolve;
    });
    let send: (snapshot: SnapshotDouble) => void = () => undefined;
    peer.operations.snapshot = () => {
      taken();
      return new Promise((resolve) => {
        send = resolve;
      });
    };
    const client = await clientWith(tokenSecurity());
    const calling = expect(client.snapshot(peer.url, 0)).rejects.toMatchObject(UNAVAILABLE);
    await asked;
    client.close();
    await calling;
    send(snapshot);
    await snapshot.released;
    expect(peer.internal).toEqual([]);
  });

  it('closes its client: both ends release it', async () => {
    const snapshot = new SnapshotDouble({ ...long, stallsAt: 3 });
    const peer = await peerSending(snapshot);
    const client = await clientWith(tokenSecurity());
    const received = await client.snapshot(peer.url, 0);
    const taking = expect(collect(received.chunks)).rejects.toMatchObject(UNAVAILABLE);
    client.close();
    await taking;
    await snapshot.released;
  });
});

describe('the sender of a snapshot', () => {
  it('fails in the middle: the receiver learns that it is not whole', async () => {
    for (const failsAt of [0, 5]) {
      const snapshot = new SnapshotDouble({ chunkCount: 9, failsAt });
      const peer = await peerSending(snapshot);
      const client = await clientWith(tokenSecurity());
      const receiving = client.snapshot(peer.url, 0).then(({ chunks }) => collect(chunks));
      await expect(receiving).rejects.toMatchObject(UNAVAILABLE);
      await snapshot.released;
      expect(peer.internal).toMatchObject([{ message: 'the disk is gone' }]);
    }
  });

  it('falls silent: the receiver waits no longer than it should, and both release it', async () => {
    const snapshot = new SnapshotDouble({ chunkCount: 9, stallsAt: 5 });
    const peer = await peerSending(snapshot);
    const client = await clientWith(tokenSecurity(), { snapshotIdleMs: 50 });
    const receiving = client.snapshot(peer.url, 0).then(({ chunks }) => collect(chunks));
    await expect(receiving).rejects.toMatchObject(UNAVAILABLE);
    await snapshot.released;
  });

  it('closes its server: both ends release it', async () => {
    const snapshot = new SnapshotDouble({ chunkCount: 9, stallsAt: 5 });
    const peer = await peerSending(snapshot);
    const client = await clientWith(tokenSecurity());
    const { chunks } = await client.snapshot(peer.url, 0);
    const taking = expect(collect(chunks)).rejects.toMatchObject(UNAVAILABLE);
    await peer.close();
    await taking;
    await snapshot.released;
  });

  it('has none: the receiver is told why', async () => {
    const peer = await servedPeer(tokenSecurity());
    peer.operations.failure = new RaftsealError('RAFTSEAL_SHARD_GROUP_HALTED', 'halted');
    const client = await clientWith(tokenSecurity());
    await expect(client.snapshot(peer.url, 0)).rejects.toMatchObject({
      code: 'RAFTSEAL_SHARD_GROUP_HALTED',
      fatal: false,
    });
  });
});

describe('what is no snapshot', () => {
  const bodies: readonly (readonly [string, Buffer])[] = [
    ['nothing', Buffer.alloc(0)],
    ['less than a length', Buffer.alloc(3)],
    ['less than its header', prefixed(10, Buffer.alloc(9))],
    ['a header of more than may be', prefixed(16 * 1024 * 1024 + 1, Buffer.alloc(100))],
    ['a header of 4 GiB', prefixed(0xffff_ffff, Buffer.alloc(100))],
  ];

  it.each(bodies)('such as %s is refused', async (_, body) => {
    const url = await replying((_, response) => response.end(body));
    const client = await clientWith(tokenSecurity());
    await expect(client.snapshot(url, 0)).rejects.toMatchObject(MALFORMED);
  });

  it('is one that was cut off, even where it was cut off between chunks', async () => {
    const url = await replying(({ socket }, response) => {
      response.writeHead(200).write(prefixed(1, Buffer.alloc(1000)), () => socket.destroy());
    });
    const client = await clientWith(tokenSecurity());
    const receiving = client.snapshot(url, 0).then(({ chunks }) => collect(chunks));
    await expect(receiving).rejects.toMatchObject(UNAVAILABLE);
  });
});
