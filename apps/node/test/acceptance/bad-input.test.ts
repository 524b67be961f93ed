/**
 * What operators and clients get wrong, and what disks do: a coded refusal each, nothing lost, and
 * the node up where it can be. Each bit of each format is the packages' own tests' business; here
 * the whole node is shown samples of all of them.
 */
import { chmod, cp, mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { errorCodes } from '@raftseal/interface';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { NodeStatus } from '../../src/admin/operations.ts';
import {
  command,
  type NodeProcess,
  refusedStart,
  runCommand,
  startNode,
  type Workspace,
  workspace,
} from './node-process.ts';

const SLOW = { timeout: 180_000 };

/** The code that a refused command names, or what it wrote where it names none. */
function codeIn(stderr: string): string {
  const code = /RAFTSEAL_[A-Z_]+/.exec(stderr)?.[0];
  return code !== undefined && code in errorCodes ? code : stderr;
}

async function refusalCode(options: readonly string[]): Promise<string> {
  const { exitCode, stderr } = await refusedStart(options);
  expect(exitCode).not.toBe(0);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  return codeIn(stderr);
}

describe('a start that is refused', SLOW, () => {
  let place: Workspace;
  let kek: string;

  beforeAll(async () => {
    place = await workspace();
    kek = `file:${place.kekPath}`;
    const node = await startNode(place);
    await node.client().set('kept', 'value');
    expect(await node.stop()).toBe(0);
  });

  afterEach(() => chmod(place.kekPath, 0o600));

  afterAll(() => place.remove());

  const data = (): readonly string[] => ['--data', place.dataPath];

  it('without a KEK', async () => {
    expect(await refusalCode(data())).toBe('RAFTSEAL_NODE_KEK_REQUIRED');
  });

  it('with a KEK file that is not there', async () => {
    const missing = [...data(), '--kek', `file:${place.path}/none`];
    expect(await refusalCode(missing)).toBe('RAFTSEAL_KEK_FILE_MISSING');
  });

  it('with a KEK file of mode 0644', async () => {
    await chmod(place.kekPath, 0o644);
    expect(await refusalCode([...data(), '--kek', kek])).toBe('RAFTSEAL_KEK_FILE_MODE');
  });

  it('with another KEK', async () => {
    const other = join(place.path, 'other-kek');
    await rm(other, { force: true });
    expect((await runCommand(['kek', 'create', other])).exitCode).toBe(0);
    const wrong = [...data(), '--kek', `file:${other}`];
    expect(await refusalCode(wrong)).toBe('RAFTSEAL_KEK_MISMATCH');
  });

  it('with a KEK of 31 bytes, an unknown scheme, an unset variable', async () => {
    const short = join(place.path, 'short-kek');
    await writeFile(short, Buffer.alloc(31, 1), { mode: 0o600 });
    const codeOfKek = (uri: string): Promise<string> => refusalCode([...data(), '--kek', uri]);
    expect(await codeOfKek(`file:${short}`)).toBe('RAFTSEAL_KEK_FILE_LENGTH');
    expect(await codeOfKek('vault:x')).toBe('RAFTSEAL_NODE_KEK_URI');
    expect(await codeOfKek('env:RAFTSEAL_NOT_SET')).toBe('RAFTSEAL_KEK_ENV_MISSING');
  });

  it('with encryption off where a sidecar is', async () => {
    const off = [...data(), '--encryption', 'off', '--kek', kek];
    expect(await refusalCode(off)).toBe('RAFTSEAL_NODE_SIDECAR_WITHOUT_ENCRYPTION');
  });

  it('with another number of shards', async () => {
    const two = [...data(), '--kek', kek, '--shards', '2'];
    expect(await refusalCode(two)).toBe('RAFTSEAL_NODE_SHARD_COUNT');
  });

  it('with options that make no sense', async () => {
    const base = [...data(), '--kek', kek];
    expect(await refusalCode([...base, '--cache', 'much'])).toBe('RAFTSEAL_NODE_OPTION');
    expect(await refusalCode([...base, '--log-level', 'loud'])).toBe('RAFTSEAL_NODE_OPTION');
    expect(await refusalCode([...base, '--host', '0.0.0.0'])).toBe('RAFTSEAL_NODE_EXPOSED');
    const { exitCode, stderr } = await refusedStart([...base, '--no-such-option']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('--no-such-option');
  });

  it('while another process uses the data directory, or the port', async () => {
    const node = await startNode(place);
    expect(await refusalCode([...data(), '--kek', kek])).toBe('RAFTSEAL_NODE_DATA_DIR_LOCKED');
    const elsewhere = await workspace();
    const args = ['--data', elsewhere.dataPath, '--kek', `file:${elsewhere.kekPath}`];
    const { exitCode, stderr } = await runCommand([
      'start',
      ...args,
      '--port',
      `${node.redisPort}`,
      '--admin-port',
      '0',
    ]);
    expect(exitCode).toBe(1);
    expect(codeIn(stderr)).toBe('RAFTSEAL_NODE_PORT');
    await elsewhere.remove();
    await node.stop();
  });

  it('with a data directory that is a file, or something else', async () => {
    const file = join(place.path, 'file');
    await writeFile(file, 'text');
    const onFile = ['--data', file, '--kek', kek];
    expect(await refusalCode(onFile)).toBe('RAFTSEAL_NODE_DATA_DIR');
    const foreign = join(place.path, 'foreign');
    await mkdir(foreign, { recursive: true });
    await writeFile(join(foreign, 'raftseal.json'), '{"formatVersion":99}');
    const onForeign = ['--data', foreign, '--kek', kek];
    expect(await refusalCode(onForeign)).toBe('RAFTSEAL_NODE_DATA_DIR_FORMAT');
  });

  it('loses nothing, however often it was tried', async () => {
    const node = await startNode(place);
    expect(await node.client().get('kept')).toBe('value');
    await node.stop();
  });
});

describe('damaged files', SLOW, () => {
  let place: Workspace;
  let other: Workspace;

  beforeAll(async () => {
    [place, other] = [await workspace(), await workspace()];
    await cp(place.kekPath, other.kekPath);
    for (const { dataPath, kekPath } of [place, other]) {
      const node = await startNode({ dataPath, kekPath });
      for (let i = 0; i < 40; i++) await node.client().set(`key:${i}`, `value:${i}`);
      // Killed, so that the log and not only the store holds what was written.
      await node.kill();
    }
  });

  afterAll(async () => {
    await place.remove();
    await other.remove();
  });

  /** Runs a check on a copy of the data directory, which the original outlives. */
  async function onCopy(act: (dataPath: string) => Promise<void>): Promise<void> {
    const copy = join(place.path, 'copy');
    await cp(place.dataPath, copy, { recursive: true });
    try {
      await act(copy);
    } finally {
      await rm(copy, { recursive: true, force: true });
    }
  }

  async function startCode(dataPath: string): Promise<string> {
    return refusalCode(['--data', dataPath, '--kek', `file:${place.kekPath}`]);
  }

  const sidecarOf = (dataPath: string): string => join(dataPath, 'keys', 'keys.raftseal');

  it('invariant 7: a sidecar with any of its bytes changed, or cut short, is refused', async () => {
    const original = await readFile(sidecarOf(place.dataPath));
    await onCopy(async (copy) => {
      const samples = [
        0,
        5,
        12,
        40,
        original.length / 2,
        original.length - 40,
        original.length - 1,
      ];
      for (const sample of samples.map(Math.floor)) {
        const flipped = Buffer.from(original);
        flipped[sample] = (flipped[sample] ?? 0) ^ 0x10;
        await writeFile(sidecarOf(copy), flipped);
        expect(await startCode(copy)).toMatch(/^RAFTSEAL_(SIDECAR|KEK|NODE|APPLIER)_/);
      }
      for (const length of [0, 9, original.length - 1]) {
        await writeFile(sidecarOf(copy), original.subarray(0, length));
        expect(await startCode(copy)).toMatch(/^RAFTSEAL_SIDECAR_/);
      }
    });
  });

  it('invariant 7: the sidecar of another node is refused', async () => {
    await onCopy(async (copy) => {
      await cp(sidecarOf(other.dataPath), sidecarOf(copy));
      expect(await startCode(copy)).toBe('RAFTSEAL_APPLIER_NODE_MISMATCH');
    });
  });

  it('a sidecar that is missing beside a sealed store is a refusal', async () => {
    await onCopy(async (copy) => {
      const node = await startNode({ dataPath: copy, kekPath: place.kekPath });
      await node.stop();
      await rm(sidecarOf(copy));
      expect(await startCode(copy)).toBe('RAFTSEAL_NODE_SIDECAR_MISSING');
    });
  });

  async function segmentOf(dataPath: string): Promise<string> {
    const names = (await readdir(join(dataPath, 'log'))).toSorted();
    return join(dataPath, 'log', names[0] ?? '');
  }

  /** Offsets of the envelopes in a segment: payload tag, version 2, flag 0. */
  async function envelopesIn(segment: string): Promise<readonly number[]> {
    const content = await readFile(segment);
    const offsets: number[] = [];
    const pattern = Buffer.from([0x53, 2, 0]);
    for (let at = content.indexOf(pattern); at >= 0; at = content.indexOf(pattern, at + 1)) {
      offsets.push(at);
    }
    return offsets;
  }

  async function overwrite(path: string, offset: number, bytes: Uint8Array): Promise<void> {
    const handle = await open(path, 'r+');
    await handle.write(bytes, 0, bytes.length, offset);
    await handle.close();
  }

  it('invariant 6: a log with a flipped bit in its middle is refused by name', async () => {
    const offsets = await envelopesIn(await segmentOf(place.dataPath));
    expect(offsets.length).toBeGreaterThan(20);
    for (const at of [3, 10, 17].map((i) => offsets[i] ?? 0)) {
      await onCopy(async (copy) => {
        const segment = await segmentOf(copy);
        const content = await readFile(segment);
        await overwrite(segment, at + 25, Buffer.from([(content[at + 25] ?? 0) ^ 1]));
        expect(await startCode(copy)).toBe('RAFTSEAL_ENGINE_CORRUPT');
      });
    }
  });

  it('invariant 7: log files of another node are refused', async () => {
    await onCopy(async (copy) => {
      await rm(join(copy, 'log'), { recursive: true });
      await cp(join(other.dataPath, 'log'), join(copy, 'log'), { recursive: true });
      expect(await startCode(copy)).toMatch(/^RAFTSEAL_/);
    });
  });

  it('the original still starts and has everything', async () => {
    const node = await startNode(place);
    for (let i = 0; i < 40; i++) expect(await node.client().get(`key:${i}`)).toBe(`value:${i}`);
    await node.stop();
  });
});

describe('callers', SLOW, () => {
  let place: Workspace;
  let node: NodeProcess;
  let before: NodeStatus;

  beforeAll(async () => {
    place = await workspace();
    node = await startNode(place);
    await node.client().set('kept', 'value');
    before = await nodeStatus();
  });

  async function nodeStatus(): Promise<NodeStatus> {
    return JSON.parse(await command(node, place, ['status', '--json']));
  }

  afterAll(async () => {
    expect(await node.client().get('kept')).toBe('value');
    await node.stop();
    await place.remove();
  });

  const calls = [
    ['GET', '/metrics'],
    ['GET', '/v1/status'],
    ['GET', '/v1/log'],
    ['POST', '/v1/verify'],
    ['POST', '/v1/encryption/enable'],
    ['POST', '/v1/keys/rotate'],
    ['GET', '/v1/none'],
  ] as const;

  it.each(calls)('without the admin token, %s %s is refused', async (method, path) => {
    for (const authorization of [undefined, 'Bearer wrong', 'Basic YTpi', 'Bearer ']) {
      const headers: Record<string, string> = authorization ? { authorization } : {};
      const response = await fetch(new URL(path, node.adminUrl), { method, headers });
      expect(response.status).toBe(401);
      expect(await response.json()).toMatchObject({ code: 'RAFTSEAL_NODE_UNAUTHORIZED' });
    }
  });

  it('refused calls changed nothing', async () => {
    const idsOf = ({ keys }: NodeStatus): readonly number[] => keys.map(({ dekId }) => dekId);
    expect(idsOf(await nodeStatus())).toEqual(idsOf(before));
  });

  it('health needs no token and tells nothing but whether the node serves', async () => {
    const response = await fetch(new URL('/health', node.adminUrl));
    expect([response.status, await response.json()]).toEqual([200, { status: 'ok' }]);
  });

  it('a command that names a node that is not there says so', async () => {
    const args = ['status', '--admin', 'http://127.0.0.1:1', '--data', place.dataPath];
    const { exitCode, stderr } = await runCommand(args);
    expect([exitCode, codeIn(stderr)]).toEqual([1, 'RAFTSEAL_NODE_UNREACHABLE']);
  });

  const malformed: readonly (readonly [string, string])[] = [
    ['an array that is too long', '*2147483647\r\n'],
    ['a bulk string that is too long', '*1\r\n$4294967296\r\n'],
    ['an argument that is no bulk string', '*1\r\n:5\r\n'],
    ['a length that is no number', '*1\r\n$abc\r\n'],
    ['an inline command without end', 'x'.repeat(70_000)],
    ['binary noise', '\x01\xff\x13\x37\r\n\r\n'],
  ];

  it.each(malformed)('%s gets an error, and other clients notice nothing', async (_, bytes) => {
    const other = node.client();
    const reply = await rawExchange(node.redisPort, bytes);
    expect(reply).toMatch(/^-ERR /);
    expect(await other.get('kept')).toBe('value');
  });
});

/** Sends bytes, and resolves to the first line that comes back, or to what did until the end. */
function rawExchange(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let reply = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'));
    socket.setTimeout(2_000, () => socket.destroy());
    socket.on('data', (chunk) => {
      reply += chunk.toString('latin1');
      if (reply.includes('\r\n')) socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(reply));
  });
}
