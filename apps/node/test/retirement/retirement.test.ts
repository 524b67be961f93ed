/** A node that is alone gives up a DEK: what is in the way is named, and what is gone is gone. */
import { describe, expect, it } from 'vitest';
import type { Node } from '../../src/node.ts';
import type { Blocker } from '../../src/retirement/blocker.ts';
import { clientOf, keyOf, newConfig, running, SHARD_COUNT } from '../running-node.ts';
import { filesWith, wrapsOf } from './needed-bytes.ts';

function activeDekId(node: Node, purpose: string): number {
  const { keys } = node.admin.status();
  return keys.find((key) => key.active && key.purpose === purpose)?.dekId ?? 0;
}

function kindsOf(blockers: readonly Blocker[]): Set<string> {
  return new Set(blockers.map(({ kind }) => kind));
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('a DEK that is needed', () => {
  it('is not retired while it is the active one', async () => {
    const node = await running(newConfig());
    for (const purpose of ['storage', 'raft', 'index']) {
      const dekId = activeDekId(node, purpose);
      const blockers = await node.admin.retirementBlockers(dekId);
      expect(blockers[0]).toEqual({ kind: 'active', purpose });
      await expect(node.admin.retire(dekId)).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_DEK_NEEDED',
        message: expect.stringContaining('rotate it first'),
      });
    }
  });

  it('is not retired where it is of no such cluster', async () => {
    const node = await running(newConfig());
    for (const call of [node.admin.retire(1), node.admin.retirementBlockers(1)]) {
      await expect(call).rejects.toMatchObject({ code: 'RAFTSEAL_NODE_BAD_REQUEST' });
    }
  });

  it('names the logs that hold entries under it, and those with its wraps', async () => {
    const node = await running(newConfig());
    const client = clientOf(node);
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) await client.set(keyOf(shardId), 'x');
    const dekId = activeDekId(node, 'raft');
    await node.admin.rotate('raft');
    const blockers = await node.admin.retirementBlockers(dekId);
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      expect(blockers).toContainEqual({
        kind: 'entries',
        shardId,
        entries: expect.any(Number),
        throughIndex: expect.stringMatching(/^[1-9]\d*$/),
      });
    }
    expect(kindsOf(blockers)).toEqual(new Set(['entries', 'wraps']));
  });
});

describe('a DEK that nothing needs', () => {
  it.each(['storage', 'raft', 'index'] as const)(
    'of purpose %s is gone from every file',
    async (purpose) => {
      const config = newConfig();
      const node = await running(config);
      const client = clientOf(node);
      for (let n = 0; n < 30; n++) await client.set(keyOf(n % SHARD_COUNT, n), `value ${n}`);
      const dekId = activeDekId(node, purpose);
      const wraps = await wrapsOf(config.dataPath, dekId);
      expect(wraps.length).toBeGreaterThan(0);
      expect((await filesWith(config.dataPath, wraps)).length).toBeGreaterThan(0);
      await node.admin.rotate(purpose);
      await until(async () => !kindsOf(await node.admin.retirementBlockers(dekId)).has('rows'));

      const receipt = await node.admin.retire(dekId);
      expect(receipt).toMatchObject({ dekId, purpose, madeBy: node.admin.status().nodeId });
      expect(receipt.members).toEqual([{ nodeId: receipt.madeBy, rows: 0 }]);
      expect(receipt.logs.map(({ shardId }) => shardId)).toEqual([0, 1, 2]);
      expect(node.admin.status().keys.map((key) => key.dekId)).not.toContain(dekId);
      expect(await filesWith(config.dataPath, wraps)).toEqual([]);
      const { logs } = await node.admin.verify();
      for (const { sealed } of logs) expect(Object.keys(sealed)).not.toContain(String(dekId));
      expect((await node.admin.retire(dekId)).controlIndex).toBe(receipt.controlIndex);

      await node.stop();
      const again = await running(config);
      expect((await again.admin.verify()).problems).toEqual([]);
      for (let n = 0; n < 30; n++) {
        expect(await clientOf(again).get(keyOf(n % SHARD_COUNT, n))).toBe(`value ${n}`);
      }
    },
  );

  it('is retired once, whoever asks at the same time', async () => {
    const node = await running(newConfig());
    const dekId = activeDekId(node, 'raft');
    await node.admin.rotate('raft');
    const receipts = await Promise.all([1, 2, 3].map(() => node.admin.retire(dekId)));
    expect(new Set(receipts.map(({ controlIndex }) => controlIndex)).size).toBe(1);
  });
});
