import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { initialKeyState, MemoryWriterRegistry } from '@raftseal/applier';
import {
  type KekProvider,
  type KeyRecord,
  type KeyState,
  NONCE_EPOCH_MAX,
  type RaftsealError,
} from '@raftseal/interface';
import { SIDECAR_FILE_NAME } from '@raftseal/sidecar';
import { describe, expect, it } from 'vitest';
import { KekSet } from '../src/kek-set.ts';
import {
  checkAgainstRegistry,
  type KeyStateRequest,
  readKeyStateFile,
} from '../src/key-state-file.ts';
import { leadingKeyNode, newCluster, newKek, openKeyNode } from './key-world.ts';
import { temporaryDirectory } from './temporary-directory.ts';

interface Sealed extends Pick<KeyStateRequest, 'nodeId' | 'directory' | 'encryption'> {
  readonly kek: KekProvider;
  readonly keks: KekSet;
  readonly state: KeyState;
  readonly sidecar: string;
}

/** The keys directory of a node that sealed its data and was stopped. */
async function sealedNode(): Promise<Sealed> {
  const kek = await newKek();
  const keks = KekSet.of(kek);
  const cluster = newCluster(['a'], [0]);
  const node = await leadingKeyNode({ cluster, shardIds: [0], keks });
  await node.operations.enableEncryption();
  await node.stop();
  const { directory, keys } = node;
  const sidecar = join(directory, SIDECAR_FILE_NAME);
  return { nodeId: 'a', directory, encryption: 'on', kek, keks, state: keys.state, sidecar };
}

/** Everything in a directory, by name: its content's digest. */
async function contentOf(directory: string): Promise<Record<string, string>> {
  const content: Record<string, string> = {};
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile()) content[path] = 'no file';
    else
      content[path] = createHash('sha256')
        .update(await readFile(path))
        .digest('hex');
  }
  return content;
}

/** Expects a refusal with a code, and that nothing in the directory has changed. */
async function expectRefusal(request: KeyStateRequest, code: unknown): Promise<void> {
  const before = await contentOf(request.directory);
  await expect(readKeyStateFile(request)).rejects.toMatchObject({ code });
  expect(await contentOf(request.directory)).toEqual(before);
}

describe('the key state at start', () => {
  it('is the initial one where there is no sidecar, and nothing is written', async () => {
    for (const encryption of ['on', 'off'] as const) {
      for (const keks of [KekSet.of(), KekSet.of(await newKek())]) {
        const directory = temporaryDirectory();
        const read = await readKeyStateFile({ nodeId: 'a', directory, encryption, keks });
        expect(read.state).toEqual(initialKeyState('a'));
        expect(read.file.path).toBe(join(directory, SIDECAR_FILE_NAME));
        expect(await readdir(directory)).toEqual([]);
      }
    }
  });

  it('is what the sidecar holds, and reading it changes nothing', async () => {
    const node = await sealedNode();
    const before = await contentOf(node.directory);
    const { state } = await readKeyStateFile(node);
    expect(state).toEqual(node.state);
    expect(await contentOf(node.directory)).toEqual(before);
  });

  it('opens with the same key in another file', async () => {
    const node = await sealedNode();
    const moved: KekProvider = {
      kekUri: 'file:/elsewhere',
      wrapKey: (dek, binding) => node.kek.wrapKey(dek, binding),
      unwrapKey: (wrapped, binding) => node.kek.unwrapKey(wrapped, binding),
      close: () => node.kek.close(),
    };
    expect((await readKeyStateFile({ ...node, keks: KekSet.of(moved) })).state).toEqual(node.state);
  });
});

describe('a start is refused', () => {
  it('where there is a sidecar and encryption is off, whatever is in it', async () => {
    const node = await sealedNode();
    const off = { ...node, encryption: 'off' } as const;
    await expectRefusal(off, 'RAFTSEAL_NODE_SIDECAR_WITHOUT_ENCRYPTION');
    await expectRefusal({ ...off, keks: KekSet.of() }, 'RAFTSEAL_NODE_SIDECAR_WITHOUT_ENCRYPTION');
    await writeFile(node.sidecar, 'anything', { mode: 0o600 });
    await expectRefusal(off, 'RAFTSEAL_NODE_SIDECAR_WITHOUT_ENCRYPTION');
  });

  it('where there is a sidecar and no KEK', async () => {
    const node = await sealedNode();
    await expectRefusal({ ...node, keks: KekSet.of() }, 'RAFTSEAL_NODE_KEK_REQUIRED');
  });

  it('with another KEK', async () => {
    const node = await sealedNode();
    await expectRefusal({ ...node, keks: KekSet.of(await newKek()) }, 'RAFTSEAL_KEK_MISMATCH');
  });

  it('with the sidecar of another node', async () => {
    const node = await sealedNode();
    await expectRefusal({ ...node, nodeId: 'b' }, 'RAFTSEAL_APPLIER_NODE_MISMATCH');
  });

  it('invariant 7: with any byte of the sidecar flipped', async () => {
    const node = await sealedNode();
    const original = await readFile(node.sidecar);
    const refusals = new Map<string, number>();
    for (let at = 0; at < original.length; at++) {
      const flipped = Buffer.from(original);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      await writeFile(node.sidecar, flipped);
      const code = await readKeyStateFile(node).then(
        () => `byte ${at} may be flipped`,
        (error: RaftsealError) => error.code,
      );
      refusals.set(code, (refusals.get(code) ?? 0) + 1);
    }
    for (const code of refusals.keys()) expect(code).toMatch(/^RAFTSEAL_(SIDECAR|KEK|APPLIER)_/);
    expect(refusals.get('RAFTSEAL_SIDECAR_MAC')).toBeGreaterThan(32);
    expect(refusals.get('RAFTSEAL_KEK_MISMATCH')).toBeGreaterThan(20);
  });

  it('with a sidecar that is cut short, or goes on after its end', async () => {
    const node = await sealedNode();
    const original = await readFile(node.sidecar);
    for (const length of [0, 3, 9, 100, original.length - 1]) {
      await writeFile(node.sidecar, original.subarray(0, length));
      await expectRefusal(node, expect.stringMatching(/^RAFTSEAL_SIDECAR_(LENGTH|MAGIC)$/));
    }
    await writeFile(node.sidecar, Buffer.concat([original, Buffer.alloc(1)]));
    await expectRefusal(node, 'RAFTSEAL_SIDECAR_LENGTH');
  });

  it('with a sidecar that others may read', async () => {
    const node = await sealedNode();
    await chmod(node.sidecar, 0o640);
    await expectRefusal(node, 'RAFTSEAL_SIDECAR_MODE');
  });

  it('with a sidecar that is a link or a directory', async () => {
    const node = await sealedNode();
    await rename(node.sidecar, `${node.sidecar}-elsewhere`);
    await symlink(`${node.sidecar}-elsewhere`, node.sidecar);
    await expectRefusal(node, 'RAFTSEAL_SIDECAR_NOT_REGULAR');
    await rm(node.sidecar);
    await mkdir(node.sidecar);
    await expectRefusal(node, 'RAFTSEAL_SIDECAR_NOT_REGULAR');
  });

  it('where the directory of the sidecar is gone', async () => {
    const node = await sealedNode();
    const request = { ...node, directory: join(node.directory, 'unmounted') };
    await expect(readKeyStateFile(request)).rejects.toMatchObject({
      code: 'RAFTSEAL_SIDECAR_DIRECTORY_MISSING',
    });
  });

  it.runIf(process.platform === 'linux')(
    'where the directory cannot replace a file durably',
    async () => {
      const request = {
        nodeId: 'a',
        directory: '/proc',
        encryption: 'on',
        keks: KekSet.of(await newKek()),
      } as const;
      await expect(readKeyStateFile(request)).rejects.toMatchObject({
        code: 'RAFTSEAL_SIDECAR_UNSUPPORTED_FILESYSTEM',
      });
    },
  );

  it('invariant 3: with the sidecar of an earlier process, or without the registry', async () => {
    const keks = KekSet.of(await newKek());
    const cluster = newCluster(['a'], [0]);
    const options = { cluster, shardIds: [0], keks, directory: join(temporaryDirectory(), 'keys') };
    const first = await leadingKeyNode(options);
    await first.operations.enableEncryption();
    await first.stop();
    const sidecar = join(first.directory, SIDECAR_FILE_NAME);
    const old = await readFile(sidecar);
    const second = await leadingKeyNode(options);
    await second.operations.registerWriter();
    await second.stop();
    const current = await readFile(sidecar);
    await writeFile(sidecar, old);
    await expect(openKeyNode(options)).rejects.toMatchObject({
      code: 'RAFTSEAL_APPLIER_EPOCH_ROLLBACK',
    });
    expect(await readFile(sidecar)).toEqual(old);
    await writeFile(sidecar, current);
    await rm(join(first.directory, 'writers'), { recursive: true });
    await expect(openKeyNode(options)).rejects.toMatchObject({
      code: 'RAFTSEAL_APPLIER_REGISTRY_LOST',
    });
    expect(await readFile(sidecar)).toEqual(current);
  });
});

describe('a key state beside the writer registry', () => {
  const node = 'a';
  const record: KeyRecord = {
    purpose: 'raft',
    wraps: [{ kekUri: 'file:/kek', bytes: Buffer.alloc(60) }],
    createdAtMs: 0,
    nonceEpoch: 5,
  };
  const state: KeyState = {
    ...initialKeyState(node),
    clusterId: Buffer.alloc(16, 1),
    activeDekId: { storage: 1, raft: 2, index: 3 },
    keys: new Map([
      [1, { ...record, purpose: 'storage' }],
      [2, record],
      [3, { ...record, purpose: 'index', nonceEpoch: 0 }],
      [4, record],
    ]),
    writers: new Map([[1, node]]),
  };

  function check(
    rows: readonly (readonly [dekId: number, lastEpoch: number])[],
    changed: KeyState = state,
  ): void {
    const registry = new MemoryWriterRegistry(
      rows.map(([dekId, lastEpoch]) => ({ dekId, writerId: 1, firstEpoch: 1, lastEpoch })),
    );
    checkAgainstRegistry(changed, registry);
  }

  const withEpoch = (dekId: number, nonceEpoch: number): KeyState => ({
    ...state,
    keys: new Map(state.keys).set(dekId, { ...record, nonceEpoch }),
  });

  it('is taken where every epoch is at or above the registered one', () => {
    check([
      [1, 5],
      [2, 4],
    ]);
    checkAgainstRegistry(initialKeyState(node), new MemoryWriterRegistry());
  });

  it('invariant 3: is refused where the registry has a higher epoch, of any key', () => {
    for (const dekId of [1, 2, 4]) {
      expect(() => check([[dekId, 6]])).toThrow(
        expect.objectContaining({ code: 'RAFTSEAL_APPLIER_EPOCH_ROLLBACK' }),
      );
    }
  });

  it('is refused where the registry lacks a writer', () => {
    expect(() => check([])).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_APPLIER_REGISTRY_LOST' }),
    );
  });

  it('is refused where a key that seals has no epoch left, and only then', () => {
    for (const dekId of [1, 2]) {
      expect(() => check([[1, 1]], withEpoch(dekId, NONCE_EPOCH_MAX))).toThrow(
        expect.objectContaining({ code: 'RAFTSEAL_APPLIER_EPOCH_EXHAUSTED' }),
      );
      check([[1, 1]], withEpoch(dekId, NONCE_EPOCH_MAX - 1));
    }
    check([[1, 1]], withEpoch(4, NONCE_EPOCH_MAX));
  });
});
