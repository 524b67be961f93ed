/** What a node says about itself: status, metrics, verification, log lines; and what it never says. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SidecarFile } from '@raftseal/sidecar';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import type { NodeStatus } from '../src/admin/operations.ts';
import type { NodeConfig } from '../src/config.ts';
import { dataDirectoryPaths } from '../src/data-directory.ts';
import { kekFromUri } from '../src/kek-from-uri.ts';
import { KekSet } from '../src/kek-set.ts';
import { verifyStoppedNode } from '../src/verify/verify-stopped.ts';
import { version } from '../src/version.ts';
import { adminCall, clientOf, keyOf, newConfig, running, SHARD_COUNT } from './running-node.ts';

const KEY_NAME = 'customer-4711-iban';
const VALUE = 'DE89370400440532013000';

describe('the status of a node', () => {
  it('is the same over HTTP, and follows what happens', async () => {
    const config = newConfig();
    const node = await running(config);
    const client = clientOf(node);
    await client.set(keyOf(1), 'value');
    // A checkpoint between the two reports would have sealed rows.
    await node.admin.digest();
    const { status, text } = await adminCall(node, config, ['GET', '/v1/status']);
    const reported = JSON.parse(text) as NodeStatus;
    expect(status).toBe(200);
    expect({ ...reported, uptimeMs: 0 }).toEqual({ ...node.admin.status(), uptimeMs: 0 });
    expect(reported).toMatchObject({
      version,
      ready: true,
      kekUris: config.kekUris,
      clients: 1,
      encryption: 'sealed',
    });
    const before = reported.keys.find(({ purpose, active }) => purpose === 'raft' && active);
    const dekId = await node.admin.rotate('raft');
    await client.set(keyOf(1), 'value');
    const after = node.admin.status();
    expect(after.shards.map(({ raftDekId }) => raftDekId)).toEqual([dekId, dekId, dekId]);
    expect(after.keys).toContainEqual(expect.objectContaining({ dekId, active: true, seals: '1' }));
    expect(after.keys).toContainEqual(
      expect.objectContaining({ dekId: before?.dekId, active: false }),
    );
  });
});

describe('the rows of a node', () => {
  it('follow a rotation of the storage key, and the reports say how far they are', async () => {
    const config = newConfig();
    const node = await running(config);
    const client = clientOf(node);
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) await client.set(keyOf(shardId), 'v');
    // It flushes the stores.
    await node.admin.digest();
    const dekId = await node.admin.rotate('storage');
    const { shards } = node.admin.status();
    expect(shards.map(({ rewrite }) => rewrite)).toContainEqual(
      expect.objectContaining({ dekId, rowsTotal: 1, quarantined: 0 }),
    );
    expect((await node.admin.metrics()).text).toMatch(/raftseal_rows_to_rewrite\{shard="1"\} [01]/);
    while (node.admin.status().shards.some(({ rewrite }) => rewrite !== null)) await delay(20);
    await node.stop();
    const { stores } = await verifyStoppedNode(config, pino({ level: 'silent' }));
    expect(stores.map(({ sealed }) => sealed)).toEqual(
      Array.from({ length: SHARD_COUNT }, () => ({ [dekId]: 1 })),
    );
  });
});

describe('the metrics of a node', () => {
  const name = '[a-zA-Z_:][a-zA-Z0-9_:]*';
  const label = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*"';
  const value = '(?:[+-]?(?:[0-9]+(?:\\.[0-9]+)?(?:e[+-]?[0-9]+)?|Inf)|NaN|Nan)';
  const sample = new RegExp(`^(${name})(?:\\{(${label}(?:,${label})*)?\\})? (${value})$`);

  /** Samples by name and labels; fails for a line that is not of the text format. */
  function parsed(text: string): Map<string, number> {
    const samples = new Map<string, number>();
    const types = new Map<string, string>();
    for (const line of text.split('\n').filter((line) => line !== '')) {
      const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line);
      if (type) types.set(type[1] ?? '', type[2] ?? '');
      if (line.startsWith('#')) continue;
      const match = sample.exec(line);
      expect(match, line).not.toBe(null);
      const base = (match?.[1] ?? '').replace(/_(bucket|sum|count)$/, '');
      expect(types.has(match?.[1] ?? '') || types.has(base), line).toBe(true);
      samples.set(`${match?.[1]}{${match?.[2] ?? ''}}`, Number(match?.[3]));
    }
    return samples;
  }

  it('are of the Prometheus text format, and say what the status says', async () => {
    const config = newConfig();
    const node = await running(config);
    await clientOf(node).set(keyOf(1), 'value');
    const { status, text } = await adminCall(node, config, ['GET', '/metrics']);
    expect(status).toBe(200);
    const samples = parsed(text);
    const { shards, keys } = node.admin.status();
    for (const { shardId, appliedIndex, cutoverIndex } of shards) {
      const of = (metric: string): number | undefined =>
        samples.get(`raftseal_${metric}{shard="${shardId}"}`);
      expect(of('shard_serving')).toBe(1);
      expect(of('shard_halted')).toBe(0);
      expect(of('shard_sealed')).toBe(1);
      expect(of('shard_applied_index')).toBe(Number(appliedIndex));
      expect(of('shard_cutover_index')).toBe(Number(cutoverIndex));
    }
    for (const { purpose, dekId, active, seals } of keys) {
      const labels = `purpose="${purpose}",dek_id="${dekId}"`;
      expect(samples.get(`raftseal_dek_seals{${labels}}`)).toBe(Number(seals));
      expect(active).toBe(true);
      expect(samples.get(`raftseal_active_dek_id{purpose="${purpose}"}`)).toBe(dekId);
    }
    const { audit } = node.admin.status();
    expect(samples.get('raftseal_audit_records{}')).toBe(audit.records);
    expect(samples.get('raftseal_audit_written{}')).toBe(1);
    expect(samples.get('raftseal_deks{state="active"}')).toBe(3);
    expect(samples.get('raftseal_sealed_only{}')).toBe(0);
    expect(samples.get('raftseal_backups{}')).toBe(0);
    expect([...samples.keys()].filter((name) => name.startsWith('raftseal_alarms'))).toEqual([]);
    expect(samples.get('raftseal_clients{}')).toBe(1);
    expect(samples.has('process_resident_memory_bytes{}')).toBe(true);
  });

  it('count what a KEK was asked, how long it took and why it failed', async () => {
    const config = newConfig();
    const node = await running(config);
    const [kek] = config.kekUris;
    const foreign = newConfig().kekUris;
    const use = ['POST', '/v1/keks/use', { kekUris: foreign }] as const;
    expect((await adminCall(node, config, use)).status).toBe(409);
    const samples = parsed((await node.admin.metrics()).text);
    const labels = (uri: string | undefined, operation: string): string =>
      `kek="${uri}",operation="${operation}"`;
    expect(samples.get(`raftseal_kek_in_reach{kek="${kek}"}`)).toBe(1);
    expect(samples.get(`raftseal_kek_seconds_count{${labels(kek, 'open')}}`)).toBe(1);
    expect(samples.get(`raftseal_kek_seconds_count{${labels(kek, 'wrap')}}`)).toBe(3);
    const failed = `${labels(foreign[0], 'unwrap')},reason="RAFTSEAL_KEK_MISMATCH"`;
    expect(samples.get(`raftseal_kek_errors_total{${failed}}`)).toBeGreaterThan(0);
    expect([...samples.keys()].filter((name) => name.startsWith('raftseal_open_fail'))).toEqual([]);
  });

  it('of two nodes of one process are apart', async () => {
    const [one, other] = [await running(newConfig()), await running(newConfig())];
    const client = clientOf(one);
    await client.ping();
    expect(parsed((await one.admin.metrics()).text).get('raftseal_clients{}')).toBe(1);
    expect(parsed((await other.admin.metrics()).text).get('raftseal_clients{}')).toBe(0);
  });
});

describe('the verification of a node', () => {
  it('finds everything sealed, and opens it, running and stopped', async () => {
    const config = newConfig();
    const node = await running(config);
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      await clientOf(node).set(keyOf(shardId), 'value');
    }
    const online = await node.admin.verify();
    expect(online).toMatchObject({ clean: true, sealedThroughout: true, problems: [] });
    await node.stop();
    const offline = await verifyStoppedNode(config, pino({ level: 'silent' }));
    expect(offline).toMatchObject({ clean: true, sealedThroughout: true, problems: [] });
    const storage =
      node.admin.status().keys.find(({ purpose }) => purpose === 'storage')?.dekId ?? 0;
    for (const { sealed, cleartextRows } of offline.stores) {
      expect({ sealed, cleartextRows }).toEqual({ sealed: { [storage]: 1 }, cleartextRows: 0 });
    }
    expect(await readdir(config.dataPath)).not.toContain('lock');
  });

  it('is clean while the node takes writes, rotates keys and is cut over', async () => {
    const node = await running(newConfig({ encryption: 'off' }));
    const client = clientOf(node);
    let writing = true;
    const writes = (async () => {
      for (let n = 0; writing; n++) {
        const batch = Array.from({ length: 50 }, (_, at) => client.set(`k:${n % 7}:${at}`, `${n}`));
        await Promise.all(batch);
      }
    })();
    const enabled = node.admin.enableEncryption([[2], [1]]);
    for (let round = 0; round < 6; round++) {
      expect((await node.admin.verify()).problems).toEqual([]);
      if (round === 2) await enabled;
      if (round > 2) await node.admin.rotate(round % 2 === 0 ? 'raft' : 'storage');
    }
    writing = false;
    await writes;
  });

  it('names what does not belong in a data directory', async () => {
    const config = newConfig();
    const node = await running(config);
    await writeFile(join(config.dataPath, 'core.1'), 'memory of a process');
    const report = await node.admin.verify();
    expect(report).toMatchObject({ clean: false, problems: ['core.1: not a file of raftseal'] });
  });
});

describe('what a node never says', () => {
  /** By name: bytes that nobody but the node may know. */
  async function secretsOf(config: NodeConfig): Promise<Map<string, Buffer>> {
    const kek = await kekFromUri(config.kekUris[0] ?? '');
    const directory = dataDirectoryPaths(config.dataPath).keys;
    const state = (await new SidecarFile({ directory }).read())?.state;
    const secrets = new Map([
      ['the KEK', await readFile((config.kekUris[0] ?? '').replace('file:', ''))],
      ['a key', Buffer.from(KEY_NAME)],
      ['a value', Buffer.from(VALUE)],
    ]);
    for (const [dekId, key] of state?.keys ?? []) {
      const { purpose } = key;
      const clusterId = state?.clusterId ?? Buffer.alloc(0);
      const dek = await KekSet.of(kek).unwrap(key, { clusterId, dekId, purpose });
      secrets.set(`the ${purpose} DEK`, Buffer.from(dek));
    }
    await kek.close();
    expect(secrets.size).toBe(6);
    return secrets;
  }

  function expectNone(text: string | Buffer, secrets: ReadonlyMap<string, Buffer>): void {
    const bytes = Buffer.from(text);
    for (const [name, secret] of secrets) {
      for (const encoding of ['hex', 'base64', 'base64url'] as const) {
        expect(bytes.includes(secret.toString(encoding)), `${name} in ${encoding}`).toBe(false);
      }
      expect(bytes.includes(secret), name).toBe(false);
    }
  }

  it('invariant 10: is in no reply of the admin API, no log line and no file', async () => {
    const lines: string[] = [];
    const log = pino({ level: 'debug' }, { write: (line) => void lines.push(line) });
    const config = newConfig();
    const node = await running(config, { log });
    const client = clientOf(node);
    await client.set(KEY_NAME, VALUE);
    await expect(client.incr(KEY_NAME)).rejects.toThrow('not an integer');
    await expect(client.hget(KEY_NAME, VALUE)).rejects.toThrow('WRONGTYPE');
    await node.admin.rotate('raft');
    await client.append(KEY_NAME, VALUE);
    const secrets = await secretsOf(config);
    const token = await readFile(dataDirectoryPaths(config.dataPath).adminToken, 'utf8');
    const secretsAndToken = new Map(secrets).set('the token', Buffer.from(token.trim()));
    for (const call of [
      ['GET', '/health'],
      ['GET', '/metrics'],
      ['GET', '/v1/status'],
      ['GET', '/v1/log'],
      ['GET', '/v1/log?shard=1'],
      ['GET', '/v1/log?shard=2'],
      ['GET', '/v1/log?shard=99'],
      ['POST', '/v1/verify'],
      ['POST', '/v1/encryption/enable'],
      ['POST', '/v1/keys/rotate', { purpose: 'index' }],
      ['POST', '/v1/keys/rotate', { purpose: 'storage' }],
      ['GET', `/${KEY_NAME.length}`],
    ] as const) {
      expectNone((await adminCall(node, config, call)).text, secretsAndToken);
    }
    expectNone(await client.info(), secretsAndToken);
    await node.stop();
    expect(lines.length).toBeGreaterThan(2);
    expectNone(lines.join('\n'), secretsAndToken);
    const entries = await readdir(config.dataPath, { recursive: true, withFileTypes: true });
    for (const entry of entries.filter((entry) => entry.isFile())) {
      expectNone(await readFile(join(entry.parentPath, entry.name)), secrets);
    }
  });
});
