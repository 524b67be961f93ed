/** Audits of a node's nonces, while it runs and after it was stopped. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { NodeConfig } from '../../src/config.ts';
import { dataDirectoryPaths } from '../../src/data-directory.ts';
import type { NonceReport } from '../../src/nonces/report.ts';
import { auditStoppedNodes } from '../../src/nonces/stopped-member.ts';
import { runCommand } from '../cli/command-run.ts';
import {
  adminCall,
  clientOf,
  keyOf,
  lastEntry,
  newConfig,
  plantEntry,
  running,
  SHARD_COUNT,
} from '../running-node.ts';
import { temporaryDirectory } from '../temporary-directory.ts';

const ROUNDS = 3;
const EPOCH_OFFSET = 1 + 8;
const COUNTER_OFFSET = 1 + 10;

/** A node that was started several times and has keys of two generations. */
async function busyNode(): Promise<NodeConfig> {
  const config = newConfig();
  for (let round = 1; round <= ROUNDS; round++) {
    const node = await running(config);
    const client = clientOf(node);
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      for (let n = 0; n < 4; n++) await client.set(keyOf(shardId, n), `in round ${round}`);
    }
    if (round === 2) await node.admin.rotate('raft');
    if (round < ROUNDS) await node.stop();
    else await expectClean(config, node);
  }
  return config;
}

async function expectClean(
  config: NodeConfig,
  node: Awaited<ReturnType<typeof running>>,
): Promise<void> {
  const both = await Promise.all([node.admin.auditNonces(), node.admin.auditNonces()]);
  expect(both[0]).toBe(both[1]);
  const { status, text } = await adminCall(node, config, ['GET', '/v1/nonces/audit']);
  expect(status).toBe(200);
  const live: NonceReport = JSON.parse(text);
  expect(live).toMatchObject({ clean: true, findings: [], passes: 1 });
  expect(live.members).toMatchObject([{ read: 'log and stores', isAuthenticated: true }]);
  const epochs = live.ranges
    .filter(({ purpose }) => purpose === 'raft')
    .map((range) => range.nonceEpoch);
  expect(epochs.toSorted((a, b) => a - b)).toEqual([1, 2, 2]);
  expect(live.ranges.filter(({ registrations }) => registrations > 0)).toHaveLength(2);
  const cli = await runCommand([
    'nonces',
    'audit',
    '--json',
    '--admin',
    `http://127.0.0.1:${node.adminPort}`,
    '--data',
    config.dataPath,
  ]);
  expect(cli).toMatchObject({ exitCode: 0, stderr: '' });
  expect(JSON.parse(cli.stdout)).toMatchObject({ clean: true });
  // While it runs, its directory is its own.
  await expect(auditStoppedNodes([config.dataPath])).rejects.toMatchObject({
    code: 'RAFTSEAL_NODE_DATA_DIR_LOCKED',
  });
  await node.stop();
}

/** The last entry of shard 2, changed: as if it had been sealed a second time. */
async function changedEntry(
  config: NodeConfig,
  change: (payload: Buffer) => void,
): Promise<readonly string[]> {
  const payload = Buffer.from(await lastEntry(config, 2));
  change(payload);
  await plantEntry(config, 2, payload);
  return (await auditStoppedNodes([config.dataPath])).findings.map(({ code }) => code);
}

describe('an audit of the nonces of a node', () => {
  it('invariant 3: reads what is on its disk, and finds what somebody has planted there', async () => {
    const config = await busyNode();
    const report = await auditStoppedNodes([config.dataPath]);
    expect(report).toMatchObject({ clean: true, findings: [] });
    expect(report.members).toMatchObject([{ isAuthenticated: false, directory: config.dataPath }]);
    const parts = await auditStoppedNodes([config.dataPath], { recordsMax: 16 });
    expect({ ...parts, passes: 1 }).toEqual(report);
    expect(parts.passes).toBeGreaterThan(1);

    const text = await runCommand(['nonces', 'audit', '--offline', '--data', config.dataPath]);
    expect(text).toMatchObject({ exitCode: 0, stderr: '' });
    expect(text.stdout).toMatch(/^dekId +purpose +writer +node +epoch +envelopes +counters/);
    expect(text.stdout).toMatch(/no nonce was used twice, and each is of an epoch that its writer/);

    // A copy of an entry is a copy, wherever it is put.
    expect(await changedEntry(config, () => undefined)).toEqual([]);
    expect(
      await changedEntry(config, (payload) => {
        payload[payload.length - 16] = (payload.at(-16) ?? 0) ^ 1;
      }),
    ).toEqual(['nonce-reused']);
    const epoch = await changedEntry(config, (payload) => payload.writeUInt16BE(9, EPOCH_OFFSET));
    expect(epoch.toSorted()).toEqual(['epoch-behind', 'epoch-unregistered', 'nonce-reused']);
    const counter = await changedEntry(config, (payload) =>
      payload.fill(0, COUNTER_OFFSET, COUNTER_OFFSET + 8),
    );
    expect(counter).toContain('counter-impossible');
    expect(await changedEntry(config, (payload) => payload.fill(9, 1, 2))).toContain('unreadable');

    const failed = await runCommand(['nonces', 'audit', '--offline', '--data', config.dataPath]);
    expect(failed.exitCode).toBe(1);
    expect(failed.stdout).toMatch(
      /^FINDING nonce-reused: DEK \d+ \(raft\), writer 1 \(node-\w+\)/m,
    );
    expect(failed.stdout).toMatch(
      /\d+ envelopes read, \d+ of them copies of another: \d+ FINDINGS$/m,
    );
  });

  it('finds a sidecar that is older than the registry beside it', async () => {
    const config = newConfig();
    await (await running(config)).stop();
    const path = join(dataDirectoryPaths(config.dataPath).keys, 'keys.raftseal');
    const old = await readFile(path);
    await (await running(config)).stop();
    await rm(path);
    await writeFile(path, old, { mode: 0o600 });
    const { findings } = await auditStoppedNodes([config.dataPath]);
    expect(new Set(findings.map(({ code }) => code))).toEqual(new Set(['epoch-behind']));
  });

  it('has nothing to find in a node that was never sealed', async () => {
    const config = newConfig({ encryption: 'off', kekUris: [] });
    const node = await running(config);
    await clientOf(node).set('key', 'value');
    expect(await node.admin.auditNonces()).toMatchObject({ clean: true, envelopes: 0, ranges: [] });
    await node.stop();
    expect(await auditStoppedNodes([config.dataPath])).toMatchObject({ clean: true, envelopes: 0 });
  });

  it('refuses what is no data directory, or one too many', async () => {
    const none = join(temporaryDirectory(), 'none');
    const offline = await runCommand(['nonces', 'audit', '--offline', '--data', none]);
    expect(offline.exitCode).toBe(1);
    expect(offline.stderr).toMatch(/^raftseal: RAFTSEAL_NODE_DATA_DIR: .*none/);
    const online = await runCommand(['nonces', 'audit', none]);
    expect(online.exitCode).toBe(2);
    expect(online.stderr).toMatch(
      /RAFTSEAL_NODE_OPTION: data directories: expected with --offline/,
    );
  });
});
