/** A cluster gives up its first keys while clients write, and no member may be missing. */
import { describe, expect, it } from 'vitest';
import type { AdminOperations } from '../../src/admin/operations.ts';
import type { Node } from '../../src/node.ts';
import { filesWith, wrapsOf } from '../retirement/needed-bytes.ts';
import { expectSameState, led } from './cluster-steps.ts';
import {
  adminsOf,
  clusterClient,
  configOf,
  etcdOfFile,
  ledBy,
  member,
  newPlace,
  until,
} from './running-cluster.ts';

const etcd = etcdOfFile();

const purposes = ['storage', 'raft', 'index'] as const;

function activeDekId(node: Node, purpose: string): number {
  const { keys } = node.admin.status();
  return keys.find((key) => key.active && key.purpose === purpose)?.dekId ?? 0;
}

/** Asks whoever leads the control shard, again where the lead changes meanwhile. */
async function atLeader<T>(
  nodes: readonly Node[],
  act: (admin: AdminOperations) => Promise<T>,
): Promise<T> {
  for (;;) {
    const leader = nodes.find((node) => ledBy(node).includes(0));
    try {
      if (leader) return await act(leader.admin);
    } catch (error) {
      if (ledBy(leader as Node).includes(0)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits for rows to be rewritten, and for members that are behind. */
async function retire(nodes: readonly Node[], dekId: number): Promise<void> {
  await until(async () => {
    const blockers = await atLeader(nodes, (admin) => admin.retirementBlockers(dekId));
    return !blockers.some(({ kind }) => kind === 'rows' || kind === 'member');
  });
  const receipt = await atLeader(nodes, (admin) => admin.retire(dekId));
  expect(receipt.members).toHaveLength(nodes.length);
}

describe('a cluster of three', () => {
  it('gives up the keys that it was founded with, under load, once all members can', async () => {
    const place = newPlace(etcd());
    const configs = ['a', 'b', 'c'].map((name) => configOf(place, name));
    const nodes: Node[] = [];
    for (const config of configs) nodes.push(await member(config));
    await led(adminsOf(nodes));
    const client = clusterClient(nodes);
    const old = purposes.map((purpose) => activeDekId(nodes[0] as Node, purpose));
    const wraps = (
      await Promise.all(
        old.map((dekId) => wrapsOf((configs[0] as { dataPath: string }).dataPath, dekId)),
      )
    ).flat();
    let written = 0;
    let stopped = false;
    const load = (async () => {
      for (; !stopped; written++) await client.set(`key:${written}`, `value ${written}`);
    })();
    await until(() => written > 200);
    for (const purpose of purposes) await atLeader(nodes, (admin) => admin.rotate(purpose));

    // Who is away may hold what nobody else has any more.
    const away = nodes.find((node) => !ledBy(node).includes(0)) as Node;
    const awayConfig = configs[nodes.indexOf(away)] as (typeof configs)[number];
    const { nodeId } = away.admin.status();
    await away.stop();
    const here = nodes.filter((node) => node !== away);
    await led(adminsOf(here));
    for (const dekId of old) {
      await expect(atLeader(here, (admin) => admin.retire(dekId))).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_DEK_NEEDED',
        message: expect.stringContaining(nodeId),
      });
    }
    const all = [...here, await member(awayConfig)];
    await led(adminsOf(all));
    for (const dekId of old) await retire(all, dekId);
    stopped = true;
    await load;

    for (const { dataPath } of configs) expect(await filesWith(dataPath, wraps)).toEqual([]);
    await expectSameState(adminsOf(all));
    for (const node of all) {
      expect((await node.admin.verify()).problems).toEqual([]);
      const dekIds = node.admin.status().keys.map((key) => key.dekId);
      for (const dekId of old) expect(dekIds).not.toContain(dekId);
    }
    for (let n = 0; n < written; n++) expect(await client.get(`key:${n}`)).toBe(`value ${n}`);
  }, 120_000);
});
