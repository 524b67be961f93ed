/** What operators ask of a cluster, of whichever node they ask it, and what they are refused. */
import { cp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TAG_SEALED } from '@raftseal/shard-group';
import { describe, expect, it } from 'vitest';
import type { NodeStatus } from '../../src/admin/operations.ts';
import { proveCapability } from '../../src/cluster/capability.ts';
import { encodePresence } from '../../src/cluster/presence.ts';
import type { NodeConfig } from '../../src/config.ts';
import { KekSet } from '../../src/kek-set.ts';
import { type Node, startNode } from '../../src/node.ts';
import { type CommandEnd, runCommand } from '../cli/command-run.ts';
import { servedPeer } from '../peer/serving.ts';
import { expectRefused as expectStartRefused } from '../refused-start.ts';
import { expectSameState, keyIn, leadAll, TIME_LIMIT_MS } from './cluster-steps.ts';
import { EtcdByHand } from './etcd-by-hand.ts';
import {
  adminsOf,
  type ClusterPlace,
  clusterClient,
  configOf,
  etcdOfFile,
  ledBy,
  member,
  newPlace,
  SHARD_COUNT,
  until,
} from './running-cluster.ts';
import { SpawnedMember } from './spawned-member.ts';

const etcd = etcdOfFile();

const clear = { encryption: 'off' } as const;

interface Asked {
  readonly node: Node;
  readonly config: NodeConfig;
}

async function started(config: NodeConfig): Promise<Asked> {
  return { node: await member(config), config };
}

/** Runs a command against a node, as an operator on its machine does. */
function command({ node, config }: Asked, ...args: readonly string[]): Promise<CommandEnd> {
  const admin = `http://127.0.0.1:${node.adminPort}`;
  return runCommand([...args, '--admin', admin, '--data', config.dataPath]);
}

/** The shards that a command says are sealed, in whatever order it came to know of them. */
function sealedShards({ stdout }: CommandEnd): readonly string[] {
  return [...stdout.matchAll(/shard \d: sealed above index \d+/g)].map(([line]) => line).toSorted();
}

function done(stdout: unknown): object {
  return { exitCode: 0, stderr: '', stdout };
}

describe('a node that leads nothing', { timeout: TIME_LIMIT_MS }, () => {
  it('has the leader do what an operator asks of it', async () => {
    const place = newPlace(etcd());
    const first = await started(configOf(place, 'a', clear));
    await leadAll(first.node);
    const asked = await started(configOf(place, 'b', clear));
    const learner = await SpawnedMember.start(configOf(place, 'l', { ...clear, role: 'learner' }));
    await clusterClient([first.node]).set('early', '1');

    const enabled = await command(asked, 'encryption', 'enable');
    expect(enabled).toEqual(done(expect.stringMatching(/(shard \d: sealed above .*\n){4}/)));
    const again = await command(asked, 'encryption', 'enable');
    expect(sealedShards(again)).toEqual(sealedShards(enabled));
    const before = activeKeys(asked.node.admin.status());
    for (const purpose of ['raft', 'storage']) {
      expect(await command(asked, 'rotate-dek', '--purpose', purpose)).toMatchObject({
        exitCode: 0,
      });
    }
    const nodes = [...adminsOf([first.node, asked.node]), learner];
    await until(async () => {
      const keys = await Promise.all(nodes.map(async (node) => activeKeys(await node.status())));
      return keys.every((each) => changed(before, each));
    });

    const { nodeId } = await learner.status();
    const promoted = await command(asked, 'member', 'promote', nodeId);
    expect(promoted).toEqual(done(`promoted ${nodeId}\n`));
    await until(() => roles(first.node).get(nodeId) === 'voter');
    expect(await command(asked, 'shard', 'prefer', '3', nodeId)).toEqual(
      done(`shard 3 goes to ${nodeId}\n`),
    );
    await until(async () => (await learner.status()).shards[3]?.state === 'leading');
    expect(await command(asked, 'shard', 'prefer', '3', 'none')).toMatchObject({ exitCode: 0 });
    await expectSameState(nodes);

    const removed = await command(asked, 'member', 'remove', nodeId);
    expect(removed).toEqual(done(`removed ${nodeId}\n`));
    expect(await learner.ended()).toBe(1);
    expect(learner.log.some(({ code }) => code === 'RAFTSEAL_NODE_REMOVED')).toBe(true);
    const list = await command(asked, 'member', 'list');
    expect(list.stdout).not.toContain(nodeId);
    const { nodeId: own } = asked.node.admin.status();
    expect(list.stdout).toMatch(new RegExp(`${own} \\(this node\\) +voter +alive `));
    await until(() => [...ledBy(first.node), ...ledBy(asked.node)].length === SHARD_COUNT);
    expect(await clusterClient([asked.node]).get('early')).toBe('1');
  });

  it('says who is no member, and does not lose the last voter', async () => {
    const place = newPlace(etcd());
    const first = await started(configOf(place, 'a'));
    await leadAll(first.node);
    const learner = await started(configOf(place, 'l', { role: 'learner' }));
    const { nodeId } = first.node.admin.status();
    const refused = async (code: string, ...args: readonly string[]): Promise<void> => {
      const { exitCode, stderr } = await command(learner, ...args);
      expect(exitCode).toBe(1);
      expect(stderr).toContain(`raftseal: ${code}: `);
    };
    await refused('RAFTSEAL_NODE_LAST_VOTER', 'member', 'remove', nodeId);
    await refused('RAFTSEAL_NODE_UNKNOWN_MEMBER', 'member', 'remove', 'node-0');
    await refused('RAFTSEAL_NODE_UNKNOWN_MEMBER', 'member', 'promote', 'node-0');
    const own = learner.node.admin.status().nodeId;
    await refused('RAFTSEAL_NODE_UNKNOWN_MEMBER', 'shard', 'prefer', '1', own);
    expect(roles(first.node)).toEqual(
      new Map([
        [nodeId, 'voter'],
        [own, 'learner'],
      ]),
    );
  });
});

describe('encryption', { timeout: TIME_LIMIT_MS }, () => {
  /** Asked of a node, is refused with the name of a member, and changes nothing. */
  async function expectRefused(asked: Asked, place: ClusterPlace, nodeId: string, why: RegExp) {
    const hand = new EtcdByHand(place);
    const before = await hand.entries(0);
    const { exitCode, stderr } = await command(asked, 'encryption', 'enable');
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`RAFTSEAL_NODE_MEMBER_INCAPABLE: `);
    expect(stderr).toContain(`expected ${nodeId} to show that it can seal and open`);
    expect(stderr).toMatch(why);
    expect(await hand.entries(0)).toEqual(before);
    expect(asked.node.admin.status()).toMatchObject({
      encryption: 'off',
      clusterId: null,
      keys: [],
    });
  }

  it('is not enabled while a member is out of reach', async () => {
    const place = newPlace(etcd());
    const first = await started(configOf(place, 'a', clear));
    await leadAll(first.node);
    const gone = await member(configOf(place, 'b', clear));
    const { nodeId } = gone.admin.status();
    await gone.stop();
    await until(() => first.node.admin.status().cluster?.members.some(isGone(nodeId)) === true);
    await expectRefused(first, place, nodeId, /is not in reach/);
  });

  it('is not enabled while a member has another KEK, or none', async () => {
    const place = newPlace(etcd());
    const { kekUri } = newPlace(etcd());
    // Without a KEK of its own the founder tries nobody's.
    const founder = configOf(place, 'a', { ...clear, kekUris: [] });
    const first = await member(founder);
    const other = await member(configOf(place, 'b', { ...clear, kekUris: [kekUri] }));
    const { nodeId } = other.admin.status();
    await first.stop();
    const again = await started({ ...founder, kekUris: [place.kekUri] });
    await leadAll(again.node);
    await expectRefused(again, place, nodeId, /RAFTSEAL_KEK_MISMATCH/);
    await other.stop();
    await member(configOf(place, 'b', { ...clear, kekUris: [] }));
    await until(
      () => again.node.admin.status().cluster?.members.every(({ isAlive }) => isAlive) === true,
    );
    await expectRefused(again, place, nodeId, /RAFTSEAL_NODE_KEK_REQUIRED.* started without a KEK/);
  });

  it('is not enabled while a member is of another format', async () => {
    const place = newPlace(etcd());
    const first = await started(configOf(place, 'a', clear));
    await leadAll(first.node);
    const nodeId = 'node-other';
    const { port, operations } = await servedPeer({ kind: 'token', tokenPath: place.tokenPath });
    const keks = await KekSet.open([place.kekUri]);
    operations.proveCapability = async (challenge) => ({
      ...(await proveCapability({ nodeId, keks }, challenge)),
      formatVersion: 2,
    });
    const presence = {
      redis: undefined,
      peer: { host: '127.0.0.1', port },
      stands: false,
      appliedIndexes: [],
      durableIndexes: [],
      seals: new Map(),
    };
    const hand = new EtcdByHand(place);
    await hand.put(`nodes/${nodeId}`, encodePresence(presence));
    await hand.put(`members/${nodeId}`, '{"role":"voter"}');
    await until(() => roles(first.node).has(nodeId));
    await expectRefused(first, place, nodeId, /it is of format 2, not 1/);
    await hand.remove(`nodes/${nodeId}`);
    await hand.remove(`members/${nodeId}`);
    await until(() => !roles(first.node).has(nodeId));
    expect((await command(first, 'encryption', 'enable')).exitCode).toBe(0);
    await keks.close();
  });

  it('invariant 1: stays on for a node that starts with --encryption off and --kek', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a', clear));
    await leadAll(first);
    const config = configOf(place, 'b', clear);
    const second = await member(config);
    await first.admin.enableEncryption();
    await until(() => second.admin.status().encryption === 'sealed');
    await second.stop();
    await clusterClient([first]).set(keyIn(1), 'between');
    const again = await member(config);
    expect(again.admin.status()).toMatchObject({ encryption: 'sealed', storage: 'sealed' });
    await first.stop();
    await until(() => ledBy(again).length === SHARD_COUNT);
    const client = clusterClient([again]);
    expect(await client.get(keyIn(1))).toBe('between');
    expect(await client.set(keyIn(1), 'after')).toBe('OK');
    const { payload } = await new EtcdByHand(place).head(1);
    expect(payload[0]).toBe(TAG_SEALED);
    await again.stop();
    await expect(startNode({ ...config, kekUris: [] })).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_SIDECAR_WITHOUT_ENCRYPTION',
    });
  });
});

describe('raftseal resync-sidecar', { timeout: TIME_LIMIT_MS }, () => {
  it('rebuilds the sidecar of a stopped node that lost it, and leaves an intact one', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a'));
    await leadAll(first);
    const config = configOf(place, 'b');
    const second = await member(config);
    const resync = (): Promise<CommandEnd> =>
      runCommand([
        'resync-sidecar',
        ...option('data', config.dataPath),
        ...option('kek', place.kekUri),
        ...option('etcd', etcd().endpoints.join()),
        ...option('etcd-prefix', place.prefix),
        ...option('peer-token-file', place.tokenPath),
      ]);
    expect((await resync()).stderr).toContain('RAFTSEAL_NODE_DATA_DIR_LOCKED');
    await second.stop();
    expect((await resync()).stderr).toContain('RAFTSEAL_APPLIER_RESYNC_NOT_NEEDED');
    const keysPath = join(config.dataPath, 'keys');
    await first.admin.rotate('raft');
    await rm(keysPath, { recursive: true });
    await expect(startNode(config)).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_SIDECAR_MISSING',
    });
    expect(await resync()).toEqual(done('the sidecar was rebuilt: start the node\n'));
    expect((await readFile(join(keysPath, 'keys.raftseal'))).length).toBeGreaterThan(0);
    await clusterClient([first]).set(keyIn(1), 'x');
    const olderKeys = join(place.root, 'older-keys');
    await cp(keysPath, olderKeys, { recursive: true });
    const again = await member(config);
    await expectSameState([first.admin, again.admin]);
    expect((await again.admin.verify()).problems).toEqual([]);

    // Intact, and older than what the node has sealed since: nothing in the folder says so.
    await first.admin.rotate('raft');
    await clusterClient([first]).set(keyIn(1), 'y');
    await expectSameState([first.admin, again.admin]);
    const used = nonceEpochs(again);
    await again.stop();
    await rm(keysPath, { recursive: true });
    await cp(olderKeys, keysPath, { recursive: true });
    await expectStartRefused(config, 'RAFTSEAL_NODE_SIDECAR_BEHIND_LOG');
    expect(await resync()).toEqual(done('the sidecar was rebuilt: start the node\n'));
    const rebuilt = await member(config);
    const claimed = nonceEpochs(rebuilt);
    expect(claimed.size).toBe(used.size);
    for (const [dekId, epoch] of used) expect(claimed.get(dekId)).toBeGreaterThan(epoch);
    await expectSameState([first.admin, rebuilt.admin]);
    expect(await rebuilt.admin.verify()).toMatchObject({ problems: [] });
    expect(await rebuilt.admin.auditNonces()).toMatchObject({ findings: [] });
  });
});

function option(name: string, value: string): readonly [string, string] {
  return [`--${name}`, value];
}

/** Of the keys that the node seals under. */
function nonceEpochs(node: Node): ReadonlyMap<number, number> {
  const { keys } = node.admin.status();
  const sealing = keys.filter(({ active, purpose }) => active && purpose !== 'index');
  return new Map(sealing.map(({ dekId, nonceEpoch }) => [dekId, nonceEpoch]));
}

function roles(node: Node): ReadonlyMap<string, string> {
  return new Map(node.admin.status().cluster?.members.map(({ nodeId, role }) => [nodeId, role]));
}

function isGone(wanted: string): (member: { nodeId: string; isAlive: boolean }) => boolean {
  return ({ nodeId, isAlive }) => nodeId === wanted && !isAlive;
}

function activeKeys({ keys }: NodeStatus): readonly number[] {
  return keys.flatMap(({ active, dekId, purpose }) =>
    active && purpose !== 'index' ? [dekId] : [],
  );
}

function changed(before: readonly number[], after: readonly number[]): boolean {
  return after.length === before.length && after.every((dekId) => !before.includes(dekId));
}
