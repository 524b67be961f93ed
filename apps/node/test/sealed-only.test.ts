/** A node in which nothing in the clear is read any more, and what is done to its disk then. */
import { cp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KIND_DATA, TAG_CLEARTEXT } from '@raftseal/shard-group';
import { SIDECAR_FILE_NAME } from '@raftseal/sidecar';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { checkCertificate } from '../src/certificate/sealing-certificate.ts';
import type { NodeConfig } from '../src/config.ts';
import { dataDirectoryPaths } from '../src/data-directory.ts';
import { kekFromUri } from '../src/kek-from-uri.ts';
import { type Node, startNode } from '../src/node.ts';
import { verifyStoppedNode } from '../src/verify/verify-stopped.ts';
import {
  clientOf,
  keyOf,
  newConfig,
  plantEntries,
  plantEntry,
  running,
  SHARD_COUNT,
} from './running-node.ts';
import { editSidecar } from './sidecar-edit.ts';

const KEY_NAME = keyOf(1, 3);
const VALUE = 'DE89370400440532013000';
const forged = Buffer.concat([Buffer.from([TAG_CLEARTEXT, KIND_DATA]), Buffer.alloc(12)]);

async function writeAll(node: Node, value: string): Promise<void> {
  const client = clientOf(node);
  for (let shardId = 0; shardId < SHARD_COUNT; shardId++) await client.set(keyOf(shardId), value);
  await client.set(KEY_NAME, value);
}

/** Resolves to how many writes were acknowledged; all of them were. */
async function writeUntil(node: Node, signal: AbortSignal): Promise<number> {
  const client = clientOf(node);
  let count = 0;
  while (!signal.aborted) {
    const batch = Array.from({ length: 20 }, (_, n) => client.set(`k:${n}`, `${count + n}`));
    count += (await Promise.all(batch)).length;
  }
  return count;
}

async function sealed(node: Node): Promise<void> {
  await node.admin.enableEncryption();
  await expect
    .poll(() => node.admin.status().encryption, { timeout: 20_000, interval: 5 })
    .toBe('sealed');
}

/** A node that was in the clear, then sealed, and is sealed-only; stopped. */
async function sealedOnlyNode(): Promise<NodeConfig> {
  const config = newConfig({ encryption: 'off' });
  const node = await running(config);
  await writeAll(node, VALUE);
  await sealed(node);
  await node.admin.enableSealedOnly();
  await node.stop();
  return { ...config, encryption: 'on' };
}

/** A copy of the data directory, for a test to change. */
async function copied(config: NodeConfig): Promise<NodeConfig> {
  const { dataPath } = newConfig();
  await cp(config.dataPath, dataPath, { recursive: true });
  return { ...config, dataPath };
}

async function filesHold(path: string, text: string): Promise<readonly string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const holding: string[] = [];
  for (const entry of entries.filter((each) => each.isFile())) {
    const file = join(entry.parentPath, entry.name);
    if ((await readFile(file)).includes(text)) holding.push(file);
  }
  return holding;
}

function haltCodes(node: Node): readonly (string | null)[] {
  return node.admin.status().shards.map(({ haltCode }) => haltCode);
}

function startCode(config: NodeConfig): Promise<unknown> {
  return startNode(config).then(
    async (node) => {
      await node.stop();
      return 'started';
    },
    (error: { code?: unknown }) => error.code,
  );
}

describe('a node that is made sealed-only', () => {
  it('invariant 10: leaves nothing of what was in the clear in any file, and goes on', async () => {
    const config = newConfig({ encryption: 'off' });
    const node = await running(config);
    await writeAll(node, VALUE);
    expect(await filesHold(config.dataPath, VALUE)).not.toEqual([]);
    await sealed(node);
    const writing = new AbortController();
    const writes = writeUntil(node, writing.signal);
    await node.admin.enableSealedOnly();
    writing.abort();
    expect(await writes).toBeGreaterThan(0);
    const { sealedOnlyIndex } = node.admin.status();
    expect(sealedOnlyIndex).toMatch(/^\d+$/);
    expect(await filesHold(config.dataPath, VALUE)).toEqual([]);
    expect(await filesHold(config.dataPath, KEY_NAME)).toEqual([]);
    const report = await node.admin.verify();
    expect(report).toMatchObject({ clean: true, sealedThroughout: true, cleartext: [] });
    for (const log of report.logs) {
      expect(log).toMatchObject({ cleartextData: 0, cleartextKeyLifecycle: 0 });
    }
    await node.admin.enableSealedOnly();
    expect(node.admin.status().sealedOnlyIndex).toBe(sealedOnlyIndex);
    await node.admin.rotate('raft');
    await writeAll(node, 'again');
    await node.stop();
    const again = await running({ ...config, encryption: 'on' });
    expect(again.admin.status()).toMatchObject({ sealedOnlyIndex, encryption: 'sealed' });
    expect(await clientOf(again).get(KEY_NAME)).toBe('again');
    expect(haltCodes(again)).toEqual([null, null, null]);
  });

  it('invariant 11: is refused, and halts nothing, while something is in the clear or wrong', async () => {
    const config = newConfig({ encryption: 'off' });
    const node = await running(config);
    const { nodeId } = node.admin.status();
    await expect(node.admin.enableSealedOnly()).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_CLEARTEXT_LEFT',
      message: expect.stringContaining(`${nodeId}: shard 1: its log is not cut over`),
    });
    await expect(node.admin.certificate()).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_NOT_BOOTSTRAPPED',
    });
    await sealed(node);
    await writeFile(join(config.dataPath, 'core.1'), 'memory of a process');
    for (const ask of [() => node.admin.enableSealedOnly(), () => node.admin.certificate()]) {
      await expect(ask()).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_CLEARTEXT_LEFT',
        message: expect.stringContaining(`1 obstacles: ${nodeId}: core.1: not a file of raftseal`),
      });
    }
    expect(node.admin.status().sealedOnlyIndex).toBe(null);
    expect(await clientOf(node).set(KEY_NAME, VALUE)).toBe('OK');
    expect(haltCodes(node)).toEqual([null, null, null]);
  });

  it('certifies what it has, with a key that a restart keeps', async () => {
    const config = newConfig();
    const node = await running(config);
    await writeAll(node, VALUE);
    const text = await node.admin.certificate();
    const { statement, fingerprint } = checkCertificate(text);
    const { nodeId, clusterId, certificateFingerprint, keys } = node.admin.status();
    expect(fingerprint).toBe(certificateFingerprint);
    expect(statement).toMatchObject({ clusterId, issuedBy: nodeId, sealedOnlyIndex: null });
    expect(statement.keys.map(({ dekId }) => dekId)).toEqual(
      keys.map(({ dekId }) => dekId).toSorted((a, b) => a - b),
    );
    const [member, ...others] = statement.members;
    expect(others).toEqual([]);
    expect(member).toMatchObject({ nodeId, role: 'voter' });
    expect(member?.logs.map(({ cleartext }) => cleartext)).toEqual([0, 0, 0]);
    const storage = keys.find(({ purpose }) => purpose === 'storage')?.dekId ?? 0;
    const rows = member?.stores.map(({ sealed: bySealed }) => bySealed[storage]);
    expect(rows).toEqual([1, 2, 1]);
    expect(member?.files.some(({ content }) => content === 'log segment')).toBe(true);
    expect(text).not.toContain(KEY_NAME);
    await node.stop();
    const again = await running(config);
    expect(again.admin.status().certificateFingerprint).toBe(fingerprint);
  });
});

describe('the disk of a sealed-only node', () => {
  it('invariant 6: is refused where anything of it is in the clear, or older', async () => {
    const config = await sealedOnlyNode();

    // Its log, made anew from index 1 on with entries in the clear.
    const log = await copied(config);
    await rm(dataDirectoryPaths(log.dataPath).log, { recursive: true });
    for (const shardId of [0, 1, 2]) await plantEntries(log, { shardId, count: 40 }, forged);
    expect(await startCode(log)).toBe('RAFTSEAL_SHARD_GROUP_CLEARTEXT_REFUSED');

    // An entry in the clear at its end.
    const tail = await copied(config);
    await plantEntry(tail, 1, forged);
    const report = await verifyStoppedNode(tail, pino({ level: 'silent' }));
    expect(report.problems).toEqual([
      expect.stringMatching(/^entry \d+ of shard 1 .*in the clear/),
    ]);
    const node = await running(tail);
    expect(haltCodes(node)).toEqual([null, 'RAFTSEAL_SHARD_GROUP_CLEARTEXT_ABOVE_CUTOVER', null]);
    await expect(clientOf(node).get(keyOf(1))).rejects.toThrow();
    expect(await clientOf(node).get(keyOf(2))).toBe(VALUE);
    await node.stop();

    // A store from before anything was sealed.
    const before = newConfig({ encryption: 'off' });
    const clear = await running(before);
    await writeAll(clear, 'forged');
    await clear.stop();
    const storeOf = ({ dataPath }: NodeConfig): string =>
      join(dataDirectoryPaths(dataPath).shards, '1', 'store');
    await rename(storeOf(config), `${config.dataPath}-aside`);
    await cp(storeOf(before), storeOf(config), { recursive: true });
    expect(await startCode(config)).toBe('RAFTSEAL_KV_CLEARTEXT_REFUSED');
    await rm(storeOf(config), { recursive: true });
    await rename(`${config.dataPath}-aside`, storeOf(config));

    // The sidecar from before the ratchet, of the same nonce epochs.
    const { keys } = dataDirectoryPaths(config.dataPath);
    const sidecarPath = join(keys, SIDECAR_FILE_NAME);
    const whole = await readFile(sidecarPath);
    const kek = await kekFromUri(config.kekUris[0] ?? '');
    await editSidecar(keys, kek, (state) => ({ ...state, sealedOnlyIndex: undefined }));
    await kek.close();
    const older = await readFile(sidecarPath);
    expect(await startCode(config)).toBe('RAFTSEAL_NODE_SIDECAR_BEHIND_STORE');
    expect(await readFile(sidecarPath)).toEqual(older);

    // A bit of the sidecar that is there.
    const flipped = Buffer.from(whole);
    flipped[flipped.length - 40] = (flipped.at(-40) ?? 0) ^ 1;
    await writeFile(sidecarPath, flipped);
    expect(await startCode(config)).toMatch(/^RAFTSEAL_SIDECAR_/);

    await writeFile(sidecarPath, whole);
    expect(await startCode(config)).toBe('started');
  });

  it('says so in its stores, also where it crashed right after its sidecar did', async () => {
    const config = newConfig();
    const node = await running(config);
    await writeAll(node, VALUE);
    await node.admin.certificate();
    await node.stop();
    const kek = await kekFromUri(config.kekUris[0] ?? '');
    const { keys } = dataDirectoryPaths(config.dataPath);
    const controlIndex = BigInt(node.admin.status().shards[0]?.appliedIndex ?? 0);
    await editSidecar(keys, kek, (state) => ({
      ...state,
      sealedOnlyIndex: controlIndex,
      appliedIndex: new Map(state.appliedIndex).set(0, controlIndex),
    }));
    expect(await startCode(config)).toBe('started');
    await editSidecar(keys, kek, (state) => ({ ...state, sealedOnlyIndex: undefined }));
    await kek.close();
    expect(await startCode(config)).toBe('RAFTSEAL_NODE_SIDECAR_BEHIND_STORE');
  });
});
