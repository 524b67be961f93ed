/** A cluster in which nothing in the clear is read any more, and who joins it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KIND_DATA, TAG_CLEARTEXT, TAG_SEALED } from '@raftseal/shard-group';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { checkCertificate } from '../../src/certificate/sealing-certificate.ts';
import type { NodeConfig } from '../../src/config.ts';
import type { Node } from '../../src/node.ts';
import { SealedOnlyOperations } from '../../src/sealed-only/operations.ts';
import { type CommandEnd, runCommand } from '../cli/command-run.ts';
import {
  expectSameState,
  keyIn,
  leadAll,
  led,
  preferForAll,
  TIME_LIMIT_MS,
} from './cluster-steps.ts';
import { EtcdByHand } from './etcd-by-hand.ts';
import {
  adminsOf,
  clusterClient,
  configOf,
  directClient,
  etcdOfFile,
  member,
  newPlace,
  SHARD_COUNT,
  until,
} from './running-cluster.ts';
import { SpawnedMember } from './spawned-member.ts';
import { haltCodes } from './tampered-log.ts';

const etcd = etcdOfFile();

/** On a slow machine a lease that ends sooner is lost now and then, and what is asked is refused. */
const steady = { leaseTtlMs: 10_000 };
const clear = { ...steady, encryption: 'off' } as const;
const forged = Buffer.concat([Buffer.from([TAG_CLEARTEXT, KIND_DATA]), Buffer.alloc(12)]);

/** Runs a command against a node, as an operator on its machine does. */
function command(node: Node, config: NodeConfig, ...args: readonly string[]): Promise<CommandEnd> {
  const admin = `http://127.0.0.1:${node.adminPort}`;
  return runCommand([...args, '--admin', admin, '--data', config.dataPath]);
}

function sealedOnlyIndex(node: Node): string | null {
  return node.admin.status().sealedOnlyIndex;
}

function membersInReach(node: Node): number | undefined {
  return node.admin.status().cluster?.members.filter(({ isAlive }) => isAlive).length;
}

describe('a cluster that is made sealed-only', { timeout: TIME_LIMIT_MS }, () => {
  it('is so on every member, once each has shown that nothing is in the clear', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a', clear));
    await leadAll(first);
    const askedConfig = configOf(place, 'b', clear);
    const asked = await member(askedConfig);
    const learnerConfig = configOf(place, 'l', { ...clear, role: 'learner' });
    const learner = await member(learnerConfig);
    const client = clusterClient([first]);
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      await client.set(keyIn(shardId), `in shard ${shardId}`);
    }
    await first.admin.enableEncryption();
    const learnerId = learner.admin.status().nodeId;
    await learner.stop();
    await until(() => membersInReach(first) === 2);

    const certificate = join(place.root, 'certificate');
    for (const args of [
      ['encryption', 'seal-only'],
      ['verify', '--certificate', certificate],
    ]) {
      const { exitCode, stderr } = await command(asked, askedConfig, ...args);
      expect(exitCode).toBe(1);
      expect(stderr).toMatch(
        new RegExp(`RAFTSEAL_NODE_CLEARTEXT_LEFT: .*1 obstacles: ${learnerId}: not in reach`),
      );
    }
    expect(sealedOnlyIndex(first)).toBe(null);

    const again = await member(learnerConfig);
    const nodes = [first, asked, again];
    await until(() => nodes.every((node) => node.admin.status().encryption === 'sealed'));
    const done = await command(asked, askedConfig, 'encryption', 'seal-only');
    expect(done).toMatchObject({ exitCode: 0, stderr: '' });
    const index = sealedOnlyIndex(first);
    expect(done.stdout).toBe(`sealed-only since index ${index} of shard 0\n`);
    await until(() => nodes.every((node) => sealedOnlyIndex(node) === index));
    for (const node of nodes) {
      expect(await node.admin.verify()).toMatchObject({ clean: true, sealedThroughout: true });
      expect(haltCodes(node)).toEqual([null, null, null, null]);
    }
    expect(await client.set(keyIn(2), 'after')).toBe('OK');

    const issued = await command(asked, askedConfig, 'verify', '--certificate', certificate);
    expect(issued).toMatchObject({ exitCode: 0, stderr: '' });
    const { statement, fingerprint } = checkCertificate(await readFile(certificate, 'utf8'));
    const roles = nodes.map((node) => [
      node.admin.status().nodeId,
      node === again ? 'learner' : 'voter',
    ]);
    expect(new Map(statement.members.map(({ nodeId, role }) => [nodeId, role]))).toEqual(
      new Map(roles as [string, 'voter' | 'learner'][]),
    );
    expect(statement).toMatchObject({
      sealedOnlyIndex: index,
      issuedBy: first.admin.status().nodeId,
    });
    for (const node of nodes) {
      expect(node.admin.status().certificateFingerprint).toBe(fingerprint);
    }
    const check = ['verify', '--check-certificate', certificate, '--fingerprint'];
    expect(await runCommand([...check, fingerprint])).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('valid: signed by the key that was expected\n'),
    });
    expect(await runCommand([...check, 'ab'.repeat(32)])).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('RAFTSEAL_NODE_SEALING_CERTIFICATE'),
    });
    await expectSameState(adminsOf(nodes));
  });

  it('invariant 6: is told to who joins, before it reads a log that was lengthened', async () => {
    const place = newPlace(etcd());
    const first = await member(configOf(place, 'a', steady));
    await leadAll(first);
    const client = clusterClient([first]);
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      await client.set(keyIn(shardId), `in shard ${shardId}`);
    }
    await first.admin.enableSealedOnly();
    const second = await member(configOf(place, 'b', steady));
    expect(sealedOnlyIndex(second)).toBe(sealedOnlyIndex(first));
    expect(haltCodes(second)).toEqual([null, null, null, null]);
    const reader = directClient(second);
    await reader.readonly();
    expect(await reader.get(keyIn(2))).toBe('in shard 2');

    const hand = new EtcdByHand(place);
    const [entry] = await hand.entries(1);
    const firstIndex = entry?.index ?? 0n;
    expect(firstIndex).toBeGreaterThan(1n);
    for (let index = 1n; index < firstIndex; index++) {
      await hand.putEntry({ shardId: 1, index, term: entry?.term ?? 1n, payload: forged });
    }
    await hand.remove('floors/1');
    const third = await member(configOf(place, 'c', { ...steady, role: 'learner' }));
    await until(() => third.admin.status().shards[2]?.state === 'follower');
    expect(haltCodes(third)).toEqual([null, 'RAFTSEAL_SHARD_GROUP_CLEARTEXT_REFUSED', null, null]);
    expect(await client.get(keyIn(1))).toBe('in shard 1');
  });

  it('invariant 1: is so on every member or on none, when its leader is killed, and can be asked again', async () => {
    const place = newPlace(etcd());
    const config = configOf(place, 'a', { leaseTtlMs: 3_000 });
    const leader = await SpawnedMember.start(config);
    const askedConfig = configOf(place, 'b', steady);
    const asked = await member(askedConfig);
    const sealOnly = (): Promise<CommandEnd> =>
      command(asked, askedConfig, 'encryption', 'seal-only');
    const { nodeId } = await leader.status();
    await preferForAll(asked, nodeId);
    const third = await member(configOf(place, 'c', steady));
    const others = [asked, third];
    const cleartextLeft: SealedOnlyOperations['cleartextLeft'] = Reflect.get(
      SealedOnlyOperations.prototype,
      'cleartextLeft',
    );
    const questions = vi.spyOn(SealedOnlyOperations.prototype, 'cleartextLeft');
    onTestFinished(() => questions.mockRestore());
    // The last question before the entry is proposed.
    questions.mockImplementationOnce(async function (this: SealedOnlyOperations) {
      await leader.kill();
      return cleartextLeft.call(this);
    });
    expect(await sealOnly()).toMatchObject({ exitCode: 1, stdout: '' });
    expect(questions).toHaveBeenCalled();

    const again = await SpawnedMember.start(config);
    await led([...adminsOf(others), again]);
    const found = async (): Promise<(string | null)[]> => [
      (await again.status()).sealedOnlyIndex,
      ...others.map(sealedOnlyIndex),
    ];
    expect(await found()).toEqual([null, null, null]);
    const client = clusterClient(others);
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      await client.set(keyIn(shardId), `in shard ${shardId}`);
    }
    // Refused where the node that was killed gets its shards again meanwhile.
    await until(async () => (await sealOnly()).exitCode === 0);
    const index = sealedOnlyIndex(asked) ?? sealedOnlyIndex(third);
    expect(index).not.toBe(null);
    await until(async () => (await found()).every((each) => each === index));
    for (let shardId = 0; shardId < SHARD_COUNT; shardId++) {
      expect(await client.set(keyIn(shardId), 'after')).toBe('OK');
      const entries = await new EtcdByHand(place).entries(shardId);
      expect(entries.filter(({ payload }) => payload[0] !== TAG_SEALED)).toEqual([]);
    }
    await expectSameState([...adminsOf(others), again]);
    for (const node of others) {
      expect(await node.admin.verify()).toMatchObject({ clean: true, sealedThroughout: true });
    }
  });
});
