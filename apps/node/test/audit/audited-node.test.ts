/** What a running node puts into its audit trail. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspectSidecar, SIDECAR_FILE_NAME } from '@raftseal/sidecar';
import { describe, expect, it } from 'vitest';
import type { AuditRecord } from '../../src/audit/record.ts';
import { verifyTrail } from '../../src/audit/verify-trail.ts';
import { dataDirectoryPaths } from '../../src/data-directory.ts';
import { startNode } from '../../src/node.ts';
import { childProgram } from '../child-program.ts';
import { adminCall, clientOf, keyOf, newConfig, running } from '../running-node.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { fileNames, linesOf, recordsOf } from './trail-world.ts';

const killer = childProgram('audit/killed-operation-child');

function entriesOf(directory: string): string[] {
  return recordsOf(directory).flatMap((record) =>
    record.kind === 'entry' ? [`${record.shardId}/${record.index} ${record.entry}`] : [],
  );
}

function callsOf(records: readonly AuditRecord[]): unknown[] {
  return records.flatMap((record) => {
    if (record.kind !== 'call') return [];
    const { path, given, caller, sequence } = record;
    const end = records.find((other) => other.kind === 'result' && other.call === sequence);
    return [{ path, given, caller, code: end?.kind === 'result' ? end.code : undefined }];
  });
}

describe('the trail of a node', () => {
  it('has every key entry once, over restarts, and the head that the status shows', async () => {
    const config = newConfig();
    const directory = dataDirectoryPaths(config.dataPath).audit;
    const first = await running(config);
    const dekId = await first.admin.rotate('storage');
    await clientOf(first).set(keyOf(1), 'value');
    await first.stop();
    const second = await running(config);
    const { audit } = second.admin.status();
    await second.stop();
    const entries = entriesOf(directory);
    expect(new Set(entries).size).toBe(entries.length);
    expect(entries[0]).toBe('0/1 bootstrap');
    expect(entries.filter((entry) => entry.endsWith('enable-raft'))).toHaveLength(3);
    expect(entries.filter((entry) => entry.endsWith('register'))).toHaveLength(2);
    expect(recordsOf(directory)).toContainEqual(
      expect.objectContaining({
        entry: 'rotate-dek',
        outcome: 'applied',
        facts: { dekId, purpose: 'storage', kekUris: config.kekUris },
      }),
    );
    const report = await verifyTrail({ directory, anchor: audit.headHash ?? '' });
    expect(report).toMatchObject({ intact: true, gaps: [], records: audit.records });
    expect(audit.failure).toBe(null);
  });

  it('has who called what, and how it ended, and nothing of what only reads', async () => {
    const config = newConfig();
    const node = await running(config);
    for (const call of [
      ['POST', '/v1/keys/rotate', { purpose: 'raft', comment: 'hunter2' }],
      ['POST', '/v1/keys/rotate', { purpose: 'none' }],
      ['POST', '/v1/keks/use', { kekUris: ['file:/none?pin-value=hunter2'] }],
      ['POST', '/v1/members/remove', { nodeId: 'node-9' }],
      ['POST', '/v1/none', {}],
      ['POST', '/v1/verify', {}],
      ['GET', '/v1/status'],
    ] as const) {
      await adminCall(node, config, call);
    }
    const directory = dataDirectoryPaths(config.dataPath).audit;
    const caller = expect.stringMatching(/^token [0-9a-f]{8}$/);
    expect(callsOf(recordsOf(directory))).toEqual([
      { path: '/v1/keys/rotate', given: { purpose: 'raft' }, caller, code: 'done' },
      {
        path: '/v1/keys/rotate',
        given: { purpose: 'none' },
        caller,
        code: 'RAFTSEAL_NODE_BAD_REQUEST',
      },
      {
        path: '/v1/keks/use',
        given: { kekUris: ['file:/none?pin-value=...'] },
        caller,
        code: 'RAFTSEAL_KEK_FILE_MISSING',
      },
      {
        path: '/v1/members/remove',
        given: { nodeId: 'node-9' },
        caller,
        code: 'RAFTSEAL_NODE_NOT_FOUND',
      },
      { path: '/v1/none', given: {}, caller, code: 'RAFTSEAL_NODE_NOT_FOUND' },
    ]);
    const text = linesOf(directory).join();
    expect(text).not.toContain('hunter2');
    expect(text).not.toContain(readFileSync(join(config.dataPath, 'admin.token'), 'utf8').trim());
  });

  it('is begun anew where it was moved away, and says what it does not have', async () => {
    const config = newConfig();
    const directory = dataDirectoryPaths(config.dataPath).audit;
    await (await running(config)).stop();
    const [name = ''] = fileNames(directory);
    const damaged = linesOf(directory).with(1, '{}');
    writeFileSync(join(directory, name), `${damaged.join('\n')}\n`);
    await expect(startNode(config)).rejects.toMatchObject({ code: 'RAFTSEAL_NODE_AUDIT_CORRUPT' });
    renameSync(directory, join(temporaryDirectory(), 'kept'));
    await (await running(config)).stop();
    const { intact, gaps } = await verifyTrail({ directory });
    expect(intact).toBe(true);
    expect(gaps.map(({ shardId, after, reason }) => [shardId, after, reason])).toEqual(
      [0, 1, 2].map((shardId) => [shardId, '0', 'found at start']),
    );
  });

  it('invariant 11: cannot be written: changes are refused, writes and reads go on', async () => {
    const config = newConfig();
    const node = await running(config);
    const directory = dataDirectoryPaths(config.dataPath).audit;
    renameSync(directory, `${directory}-away`);
    const rotate = ['POST', '/v1/keys/rotate', { purpose: 'raft' }] as const;
    const { text } = await adminCall(node, config, rotate);
    expect(JSON.parse(text)).toMatchObject({ code: 'RAFTSEAL_NODE_AUDIT_UNAVAILABLE' });
    // An entry that comes all the same, as from another node, is applied.
    const dekId = await node.admin.rotate('storage');
    expect(await clientOf(node).set(keyOf(2), 'value')).toBe('OK');
    expect(node.admin.healthy).toBe(true);
    const { audit, keys } = node.admin.status();
    expect(audit.failure).not.toBe(null);
    expect(keys).toContainEqual(expect.objectContaining({ dekId, active: true }));
    renameSync(`${directory}-away`, directory);
    expect((await adminCall(node, config, rotate)).status).toBe(200);
    expect(node.admin.status().audit.failure).toBe(null);
    const { intact, gaps } = await verifyTrail({ directory });
    expect([intact, gaps.map(({ reason }) => reason)]).toEqual([true, ['not written']]);
  });
});

describe('a node that is killed between the record of an entry and its sidecar', () => {
  it('applies the entry at its next start, once, and records it no second time', async () => {
    const config = newConfig();
    const { keys, audit: directory } = dataDirectoryPaths(config.dataPath);
    const [kekUri = ''] = config.kekUris;
    const before = await running(config);
    await clientOf(before).set(keyOf(1), 'value');
    await before.stop();
    const rotated: Readonly<Record<string, unknown>>[] = [];
    for (const purpose of ['raft', 'index']) {
      expect(await killer.start([config.dataPath, kekUri, purpose]).ended).toBe(null);
      const last = recordsOf(directory).at(-1);
      expect(last).toMatchObject({ entry: 'rotate-dek', facts: { purpose } });
      const facts = last?.kind === 'entry' ? last.facts : {};
      rotated.push(facts);
      const sidecar = inspectSidecar(readFileSync(join(keys, SIDECAR_FILE_NAME)));
      expect(sidecar.keys.map((key) => key.dekId)).not.toContain(facts.dekId);
    }
    // The second process has applied what the first one left, and left what it was asked itself.
    const node = await running(config);
    const status = node.admin.status();
    expect(status.keys).toHaveLength(5);
    for (const { dekId, purpose } of rotated) {
      expect(status.keys).toContainEqual(expect.objectContaining({ dekId, purpose, active: true }));
    }
    expect(await clientOf(node).get(keyOf(1))).toBe('value');
    expect(await clientOf(node).set(keyOf(2), 'value')).toBe('OK');
    expect(await node.admin.verify()).toMatchObject({ problems: [] });
    const entries = entriesOf(directory);
    expect(entries.filter((entry) => entry.endsWith('rotate-dek'))).toHaveLength(2);
    expect(new Set(entries).size).toBe(entries.length);
    expect(await verifyTrail({ directory })).toMatchObject({ intact: true, gaps: [] });
  });
});
