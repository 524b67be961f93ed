/**
 * Every guard of a start: it refuses with a code of its own, before a nonce epoch is burnt. What was
 * on the disk is there afterwards, byte for byte, so that the cause can be removed and the node
 * started, however often it was tried before.
 */

import { appendFileSync, chmodSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { cp, readdir, rename, rm, symlink, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeOf, type KeyState, NONCE_EPOCH_MAX } from '@raftseal/interface';
import { SIDECAR_FILE_NAME } from '@raftseal/sidecar';
import { Redis } from 'ioredis';
import { open } from 'lmdb';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { resyncSidecar } from '../src/cluster/resync.ts';
import type { NodeConfig } from '../src/config.ts';
import { dataDirectoryPaths } from '../src/data-directory.ts';
import { lockDirectory } from '../src/data-directory-lock.ts';
import { kekFromUri } from '../src/kek-from-uri.ts';
import { type Node, startNode } from '../src/node.ts';
import { expectRefused } from './refused-start.ts';
import { clientOf, keyOf, newConfig, running, SHARD_COUNT } from './running-node.ts';
import { editSidecar } from './sidecar-edit.ts';
import { temporaryDirectory } from './temporary-directory.ts';

/** A stopped node that has started twice, and a copy of it between the two. */
interface Aged {
  readonly config: NodeConfig;
  /** As of the end of its first process. */
  readonly early: string;
}

let aged: Aged;
let other: NodeConfig;

const roots = ['one', 'other'].map((name) => mkdtempSync(join(tmpdir(), `raftseal-${name}-`)));

beforeAll(async () => {
  const [root = '', otherRoot = ''] = roots;
  const config = newConfig({}, root);
  const early = join(root, 'early');
  await lived(config);
  await cp(config.dataPath, early, { recursive: true });
  await lived(config);
  aged = { config, early };
  other = newConfig({}, otherRoot);
  await lived(other);
});

afterAll(async () => {
  for (const root of roots) await rm(root, { recursive: true });
});

/** Starts a node, writes to every shard, and stops it. */
async function lived(config: NodeConfig): Promise<void> {
  const node = await startNode(config);
  const client = new Redis(node.redisPort);
  for (let shardId = 0; shardId < SHARD_COUNT; shardId++) await client.set(keyOf(shardId), 'value');
  client.disconnect();
  await node.stop();
}

/** A copy of a data directory of its own, with the KEK of the node. */
async function copyOf(path: string): Promise<NodeConfig> {
  const dataPath = join(temporaryDirectory(), 'data');
  await cp(path, dataPath, { recursive: true });
  return { ...aged.config, dataPath };
}

/** Puts parts of one data directory in place of those of another. */
async function replaceParts(
  config: NodeConfig,
  from: string,
  ...parts: readonly string[]
): Promise<void> {
  for (const part of parts) {
    await rm(join(config.dataPath, part), { recursive: true });
    await cp(join(from, part), join(config.dataPath, part), { recursive: true });
  }
}

async function withKeyState(
  config: NodeConfig,
  edit: (state: KeyState) => KeyState,
): Promise<void> {
  const kek = await kekFromUri(config.kekUris[0] ?? '');
  await editSidecar(dataDirectoryPaths(config.dataPath).keys, kek, edit);
  await kek.close();
}

async function damageWriterRow(dataPath: string): Promise<void> {
  const path = join(dataPath, 'keys', 'writers');
  const rows = open<Buffer, Buffer>({ path, keyEncoding: 'binary', encoding: 'binary' });
  const [row] = [...rows.getRange()];
  if (!row) throw new Error('the node is a writer');
  await rows.put(Buffer.from(row.key), Buffer.alloc(row.value.length, 0x5a));
  await rows.close();
}

const sidecar = join('keys', SIDECAR_FILE_NAME);

/** What is done to the node, and what its next start says. */
interface Guard {
  readonly code: string;
  readonly where: string;
  /** Gives the configuration to start with, if it is another one. */
  readonly spoil: (config: NodeConfig) => Promise<NodeConfig | undefined> | NodeConfig | undefined;
}

async function only(act: Promise<unknown>): Promise<undefined> {
  await act;
  return undefined;
}

const guards: readonly Guard[] = [
  {
    code: 'RAFTSEAL_NODE_KEK_REQUIRED',
    where: 'encryption is on and no KEK is named',
    spoil: (config) => ({ ...config, kekUris: [] }),
  },
  {
    code: 'RAFTSEAL_NODE_KEK_TWICE',
    where: 'one KEK is named twice',
    spoil: (config) => ({ ...config, kekUris: [...config.kekUris, ...config.kekUris] }),
  },
  {
    code: 'RAFTSEAL_KEK_FILE_MISSING',
    where: 'the KEK is not there',
    spoil: (config) => ({ ...config, kekUris: ['file:/nowhere/kek'] }),
  },
  {
    code: 'RAFTSEAL_KEK_MISMATCH',
    where: 'the KEK is another one',
    spoil: (config) => ({ ...config, kekUris: other.kekUris }),
  },
  {
    code: 'RAFTSEAL_NODE_SIDECAR_WITHOUT_ENCRYPTION',
    where: 'encryption is off and there are keys',
    spoil: (config) => ({ ...config, encryption: 'off' }),
  },
  {
    code: 'RAFTSEAL_NODE_SIDECAR_MISSING',
    where: 'the store is sealed and there is no sidecar',
    spoil: ({ dataPath }) => only(rm(join(dataPath, sidecar))),
  },
  {
    code: 'RAFTSEAL_SIDECAR_MAC',
    where: 'a byte of the sidecar was changed',
    spoil: ({ dataPath }) => {
      const bytes = readFileSync(join(dataPath, sidecar));
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      writeFileSync(join(dataPath, sidecar), bytes);
      return undefined;
    },
  },
  {
    code: 'RAFTSEAL_SIDECAR_MODE',
    where: 'others may read the sidecar',
    spoil: ({ dataPath }) => {
      chmodSync(join(dataPath, sidecar), 0o644);
      return undefined;
    },
  },
  {
    code: 'RAFTSEAL_APPLIER_NODE_MISMATCH',
    where: 'the sidecar is of another node of the cluster',
    spoil: (config) => only(withKeyState(config, (state) => ({ ...state, nodeId: 'node-other' }))),
  },
  {
    code: 'RAFTSEAL_APPLIER_EPOCH_ROLLBACK',
    where: 'the sidecar is of the process before',
    spoil: (config) => only(replaceParts(config, aged.early, sidecar)),
  },
  {
    code: 'RAFTSEAL_APPLIER_REGISTRY_LOST',
    where: 'the writer registry is gone',
    spoil: ({ dataPath }) => only(rm(join(dataPath, 'keys', 'writers'), { recursive: true })),
  },
  {
    code: 'RAFTSEAL_NODE_REGISTRY_CORRUPT',
    where: 'a row of the writer registry is damaged',
    spoil: ({ dataPath }) => only(damageWriterRow(dataPath)),
  },
  {
    code: 'RAFTSEAL_NODE_REGISTRY_CORRUPT',
    where: 'the file of the writer registry is damaged',
    spoil: ({ dataPath }) => {
      writeFileSync(join(dataPath, 'keys', 'writers', 'data.mdb'), Buffer.alloc(8192, 0x5a));
      return undefined;
    },
  },
  {
    code: 'RAFTSEAL_KV_STORE_CORRUPT',
    where: 'the file of a store was cut',
    spoil: ({ dataPath }) =>
      only(truncate(join(dataPath, 'shards', '1', 'store', 'data.mdb'), 8192)),
  },
  {
    code: 'RAFTSEAL_APPLIER_EPOCH_EXHAUSTED',
    where: 'the nonce epochs of an active key are used up',
    spoil: (config) =>
      only(
        withKeyState(config, (state) => ({
          ...state,
          keys: new Map(
            [...state.keys].map(([dekId, key]) => [
              dekId,
              key.purpose === 'raft' ? { ...key, nonceEpoch: NONCE_EPOCH_MAX } : key,
            ]),
          ),
        })),
      ),
  },
  {
    code: 'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG',
    where: 'sidecar and registry both are of the process before: its epoch would be claimed again',
    spoil: (config) => only(replaceParts(config, aged.early, 'keys')),
  },
  {
    code: 'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG',
    where: 'the same, and the audit trail is of that time too',
    spoil: (config) => only(replaceParts(config, aged.early, 'keys', 'audit')),
  },
  {
    code: 'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG',
    where: 'the sidecar has not applied an entry that the audit trail has',
    spoil: (config) =>
      only(
        withKeyState(config, (state) => ({
          ...state,
          appliedIndex: new Map(state.appliedIndex).set(0, 3n),
        })),
      ),
  },
  {
    code: 'RAFTSEAL_NODE_SIDECAR_BEHIND_STORE',
    where: 'the stores are of another node',
    spoil: (config) => only(replaceParts(config, other.dataPath, 'shards')),
  },
  {
    code: 'RAFTSEAL_NODE_LOG_BEHIND_STORE',
    where: 'the logs are of the process before',
    spoil: (config) => only(replaceParts(config, aged.early, 'log')),
  },
  {
    code: 'RAFTSEAL_NODE_LOG_BEHIND_SIDECAR',
    where: 'logs and stores are of the process before',
    spoil: (config) => only(replaceParts(config, aged.early, 'log', 'shards')),
  },
  {
    code: 'RAFTSEAL_NODE_SHARD_COUNT',
    where: 'another number of shards is asked for',
    spoil: (config) => ({ ...config, shardCount: SHARD_COUNT + 1 }),
  },
  {
    code: 'RAFTSEAL_NODE_DATA_DIR_FORMAT',
    where: 'raftseal.json, which says whose data it is, is gone',
    spoil: ({ dataPath }) => only(rm(join(dataPath, 'raftseal.json'))),
  },
  {
    code: 'RAFTSEAL_NODE_DATA_DIR_MODE',
    where: 'others may write to the folder of the keys',
    spoil: ({ dataPath }) => {
      chmodSync(join(dataPath, 'keys'), 0o770);
      return undefined;
    },
  },
  {
    code: 'RAFTSEAL_NODE_AUDIT_CORRUPT',
    where: 'the audit trail was changed',
    spoil: async ({ dataPath }) => {
      const [name = ''] = await readdir(join(dataPath, 'audit'));
      appendFileSync(join(dataPath, 'audit', name), '{}\n');
      return undefined;
    },
  },
  {
    code: 'RAFTSEAL_NODE_EXPOSED',
    where: 'clients of the network need no password',
    spoil: (config) => ({ ...config, redis: { ...config.redis, host: '0.0.0.0' } }),
  },
];

describe('a start is refused, and burns no nonce epoch,', () => {
  it.each(guards)('where $where: $code', async ({ code, spoil }) => {
    const config = await copyOf(aged.config.dataPath);
    await expectRefused((await spoil(config)) ?? config, code);
  });

  it('where data is in the clear and encryption was to be on: RAFTSEAL_NODE_CLEARTEXT_DATA', async () => {
    const config = newConfig({ encryption: 'off' });
    await lived(config);
    await expectRefused({ ...config, encryption: 'on' }, 'RAFTSEAL_NODE_CLEARTEXT_DATA');
  });

  it('where another process uses the directory: RAFTSEAL_NODE_DATA_DIR_LOCKED', async () => {
    const config = await copyOf(aged.config.dataPath);
    const lock = await lockDirectory(dataDirectoryPaths(config.dataPath).lock);
    await expectRefused(config, 'RAFTSEAL_NODE_DATA_DIR_LOCKED');
    await lock.release();
  });

  it.each([0, Date.parse('2300-01-01T00:00:00Z')])(
    'where the clock shows %i: RAFTSEAL_NODE_CLOCK',
    async (nowMs) => {
      const config = await copyOf(aged.config.dataPath);
      vi.useFakeTimers({ toFake: ['Date'], now: nowMs });
      try {
        await expectRefused(config, 'RAFTSEAL_NODE_CLOCK');
      } finally {
        vi.useRealTimers();
      }
    },
  );

  it.runIf(process.platform === 'linux')(
    'where the disk does not keep what it is told: RAFTSEAL_SIDECAR_UNSUPPORTED_FILESYSTEM',
    async () => {
      const config = await copyOf(aged.config.dataPath);
      const { keys } = dataDirectoryPaths(config.dataPath);
      await rename(keys, `${config.dataPath}-keys`);
      await symlink('/proc', keys);
      await expect(startNode(config)).rejects.toMatchObject({
        code: 'RAFTSEAL_SIDECAR_UNSUPPORTED_FILESYSTEM',
      });
      await rm(keys);
      await rename(`${config.dataPath}-keys`, keys);
      await (await running(config)).stop();
    },
  );

  it('and a node that nothing is wrong with starts, as often as it is asked to', async () => {
    const config = await copyOf(aged.config.dataPath);
    for (let start = 0; start < 2; start++) await (await running(config)).stop();
    await lived(await copyOf(aged.early));
  });
});

describe('invariant 3: an older copy of the keys alone', () => {
  it('never seals: its epoch would be one that was used, and nothing beside it says so', async () => {
    const config = await copyOf(aged.config.dataPath);
    await replaceParts(config, aged.early, 'keys');
    await rm(join(config.dataPath, 'audit'), { recursive: true });
    await expectRefused(config, 'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG');
  });
});

describe('raftseal resync-sidecar, of a node that is alone,', () => {
  const resync = ({ dataPath, kekUris }: NodeConfig): Promise<void> =>
    resyncSidecar({ dataPath, kekUris, cluster: undefined }, pino({ level: 'silent' }));

  const epochsOf = (node: Node): [number, number][] =>
    node.admin.status().keys.map(({ dekId, nonceEpoch }) => [dekId, nonceEpoch]);

  it('invariant 3: brings an older copy of the keys up to its log, above every epoch that was used', async () => {
    const config = await copyOf(aged.config.dataPath);
    expect(await resync(config).catch(codeOf)).toBe('RAFTSEAL_APPLIER_RESYNC_NOT_NEEDED');
    const cases = [
      { purposes: ['raft'], older: 'keys', code: 'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG' },
      {
        purposes: ['storage', 'index', 'raft'],
        older: sidecar,
        code: 'RAFTSEAL_APPLIER_EPOCH_ROLLBACK',
      },
    ] as const;
    for (const { purposes, older, code } of cases) {
      const node = await running(config);
      for (const purpose of purposes) await node.admin.rotate(purpose);
      expect(await clientOf(node).set(keyOf(1), purposes.join())).toBe('OK');
      const used = epochsOf(node);
      await node.stop();
      await replaceParts(config, aged.early, older);
      await expectRefused(config, code);
      await resync(config);
      const rebuilt = await running(config);
      const { keys } = rebuilt.admin.status();
      for (const [dekId, nonceEpoch] of used) {
        const key = keys.find((each) => each.dekId === dekId);
        const isClaimed = key?.active === true && key.purpose !== 'index';
        expect(key?.nonceEpoch).toBe(isClaimed ? nonceEpoch + 1 : nonceEpoch);
      }
      expect(await clientOf(rebuilt).get(keyOf(1))).toBe(purposes.join());
      expect(await clientOf(rebuilt).get(keyOf(2))).toBe('value');
      expect(await clientOf(rebuilt).set(keyOf(0), 'new')).toBe('OK');
      expect(await rebuilt.admin.verify()).toMatchObject({ problems: [] });
      expect(await rebuilt.admin.auditNonces()).toMatchObject({ findings: [] });
      await rebuilt.stop();
    }
  });

  it('changes nothing where the log does not have what came next, or no sidecar opens it', async () => {
    const config = await copyOf(aged.config.dataPath);
    const node = await running(config);
    await node.admin.enableSealedOnly();
    await node.stop();
    await replaceParts(config, aged.early, 'keys');
    await expectRefused(config, 'RAFTSEAL_NODE_SIDECAR_BEHIND_STORE');
    const older = readFileSync(join(config.dataPath, sidecar));
    expect(await resync(config).catch(codeOf)).toBe('RAFTSEAL_NODE_SIDECAR_BEHIND_LOG');
    expect(readFileSync(join(config.dataPath, sidecar))).toEqual(older);
    await rm(join(config.dataPath, sidecar));
    expect(await resync(config).catch(codeOf)).toBe('RAFTSEAL_NODE_SIDECAR_MISSING');
    await replaceParts(config, aged.early, 'keys');
    await withKeyState(config, (state) => ({ ...state, cutoverIndex: new Map([[0, 3n]]) }));
    expect(await resync(config).catch(codeOf)).toBe('RAFTSEAL_NODE_SIDECAR_BEHIND_LOG');
  });
});
