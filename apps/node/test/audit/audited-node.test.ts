/** What a running node puts into its audit trail. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AuditRecord } from '../../src/audit/record.ts';
import { verifyTrail } from '../../src/audit/verify-trail.ts';
import { dataDirectoryPaths } from '../../src/data-directory.ts';
import { KekSet } from '../../src/kek-set.ts';
import { startNode } from '../../src/node.ts';
import { leadingKeyNode, newCluster, newKek, openKeyNode, until } from '../key-world.ts';
import { adminCall, clientOf, keyOf, newConfig, running } from '../running-node.ts';
import { temporaryDirectory } from '../temporary-directory.ts';
import { fileNames, linesOf, newTrailDirectory, openTrail, recordsOf } from './trail-world.ts';

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
  it('applies the entry at its next start, and records it no second time', async () => {
    const trailDirectory = newTrailDirectory();
    const keks = KekSet.of(await newKek());
    const cluster = newCluster(['a'], [0]);
    const options = { cluster, shardIds: [0], keks, directory: join(temporaryDirectory(), 'keys') };
    const power = { isOn: true };
    const trail = await openTrail(trailDirectory);
    const node = await leadingKeyNode({
      ...options,
      note: async (applied) => {
        await trail.note(applied);
        if (!power.isOn) throw new Error('the power went');
      },
    });
    await node.operations.enableEncryption();
    power.isOn = false;
    void node.operations.rotate('raft').catch(() => undefined);
    await until(() => node.groups[0]?.state === 'halted');
    const before = node.keys.state;
    await node.stop();
    await trail.close();
    const again = await openTrail(trailDirectory);
    const next = await openKeyNode({ ...options, note: again.note });
    expect(next.keys.state.activeDekId.raft).not.toBe(before.activeDekId.raft);
    const entries = entriesOf(trailDirectory);
    expect(entries.at(-1)).toMatch(/rotate-dek$/);
    expect(new Set(entries).size).toBe(entries.length);
  });
});
