/**
 * Leaders that were deposed while they did not know: stopped as processes, or cut off from etcd.
 * What reaches them late is neither served from what they had nor put into the log.
 */
import { describe, expect, it, onTestFinished } from 'vitest';
import type { NodeConfig } from '../../src/config.ts';
import { RawClient, request } from '../redis/raw-client.ts';
import { expectSameState, keysIn, leadAll, TIME_LIMIT_MS, withEtcd } from './cluster-steps.ts';
import { EtcdByHand } from './etcd-by-hand.ts';
import {
  type ClusterPlace,
  clusterClient,
  configOf,
  directClient,
  etcdOfFile,
  ledBy,
  member,
  newPlace,
  SHARD_COUNT,
  until,
} from './running-cluster.ts';
import { SpawnedMember } from './spawned-member.ts';
import { TcpRelay } from './tcp-relay.ts';

const etcd = etcdOfFile();

const ROUNDS = 3;
const REDIRECTION =
  /^-(MOVED \d+ 127\.0\.0\.1:\d+|CLUSTERDOWN RAFTSEAL_SHARD_GROUP_NOT_LEADER: .*)\r\n$/;
const UNKNOWN = /^-(MOVED|CLUSTERDOWN|ERR RAFTSEAL_SHARD_GROUP_OUTCOME_UNKNOWN:) .*\r\n$/;
const WHOLE_REPLY = /^(?:[-+][^\r]*|\$\d+\r\n[^\r]*)\r\n$/;

const shardIds = Array.from({ length: SHARD_COUNT }, (_, shardId) => shardId);

function reading(config: NodeConfig, reads: 'lease' | 'strict'): NodeConfig {
  const { cluster } = config;
  if (!cluster) throw new TypeError('a member of a cluster has its configuration');
  return { ...config, cluster: { ...cluster, reads } };
}

/** Within the log of a shard, no entry of a term follows on one of a later term. */
async function expectTermsInOrder(place: ClusterPlace): Promise<void> {
  const last = new Map<number, { readonly index: bigint; readonly term: bigint }>();
  for (const { shardId, index, term } of await new EtcdByHand(place).history()) {
    const before = last.get(shardId) ?? { index: 0n, term: 0n };
    expect(index, `shard ${shardId}`).toBe(before.index + 1n);
    expect(term, `entry ${index} of shard ${shardId}`).toBeGreaterThanOrEqual(before.term);
    last.set(shardId, { index, term });
  }
}

/** A connection to one node, with one request under way at a time. */
class Line {
  readonly #client: RawClient;

  private constructor(client: RawClient) {
    this.#client = client;
  }

  static async open(port: number): Promise<Line> {
    const client = await RawClient.open(port);
    onTestFinished(() => client.close());
    return new Line(client);
  }

  /** Sends a request at once; the result waits for the reply. */
  send(...args: readonly string[]): () => Promise<string> {
    const before = this.#client.received.length;
    const received = (): string => this.#client.received.slice(before);
    this.#client.send(request(...args));
    return async () => {
      await until(() => WHOLE_REPLY.test(received()));
      return received();
    };
  }

  ask(...args: readonly string[]): Promise<string> {
    return this.send(...args)();
  }
}

describe('a leader that is stopped until another leads', { timeout: TIME_LIMIT_MS }, () => {
  it('invariant 8: serves nothing stale and appends nothing when it is resumed', async () => {
    const place = newPlace(etcd());
    const heir = await member(configOf(place, 'heir'));
    const leased = await SpawnedMember.start(reading(configOf(place, 'leased'), 'lease'));
    const strict = await SpawnedMember.start(reading(configOf(place, 'strict'), 'strict'));
    const leaders = [leased, strict, leased, strict];
    for (const [shardId, leader] of leaders.entries()) {
      await heir.admin.preferLeader(shardId, (await leader.status()).nodeId);
    }
    const atHeir = directClient(heir);
    for (let round = 1; round <= ROUNDS; round++) {
      await until(() => ledBy(heir).length === 0 && heir.admin.healthy);
      const lines = [];
      for (const [shardId, { redisPort }] of leaders.entries()) {
        const [key = '', another = ''] = keysIn(shardId, 2);
        const [reader, writer] = [await Line.open(redisPort), await Line.open(redisPort)];
        expect(await reader.ask('SET', key, 'old')).toBe('+OK\r\n');
        lines.push({ key, another, reader, writer });
      }
      for (const leader of [leased, strict]) leader.pause();
      await until(() => ledBy(heir).length === SHARD_COUNT);
      const replies = [];
      for (const { key, another, reader, writer } of lines) {
        await atHeir.set(key, 'new');
        await atHeir.set(another, 'new');
        const read = reader.send('GET', key);
        replies.push({ read, written: writer.send('SET', another, 'late') });
      }
      for (const leader of [leased, strict]) leader.resume();
      for (const { read, written } of replies) {
        const found = await read();
        if (found !== '$3\r\nnew\r\n') expect(found).toMatch(REDIRECTION);
        // Whether it was appended could not be told while etcd was silent.
        expect(await written()).toMatch(UNKNOWN);
      }
      const client = clusterClient([heir]);
      for (const { key, another } of lines) {
        expect([await client.get(key), await client.get(another)]).toEqual(['new', 'new']);
      }
    }
    await expectSameState([heir.admin, leased, strict]);
    await expectTermsInOrder(place);
  });
});

describe('a leader that is cut off from etcd until another leads', {
  timeout: TIME_LIMIT_MS,
}, () => {
  it('invariant 8: serves nothing stale, and what it has sent is refused by etcd', async () => {
    const place = newPlace(etcd());
    const relay = await TcpRelay.open(Number(new URL(etcd().endpoints[0] ?? '').port));
    const endpoints = [`http://127.0.0.1:${relay.port}`];
    const cutOff = await member(withEtcd(configOf(place, 'a'), { endpoints }));
    await leadAll(cutOff);
    const heir = await member(configOf(place, 'b'));
    const atHeir = directClient(heir);
    const keys = shardIds.flatMap((shardId) => keysIn(shardId, 1));
    const [another = ''] = keysIn(1, 2).slice(1);
    for (let round = 1; round <= ROUNDS; round++) {
      await until(() => ledBy(cutOff).length === SHARD_COUNT && heir.admin.healthy);
      const reader = await Line.open(cutOff.redisPort);
      for (const key of keys) expect(await reader.ask('SET', key, 'old')).toBe('+OK\r\n');
      relay.stall();
      const written = (await Line.open(cutOff.redisPort)).send('SET', another, 'late');
      const isNew = new Set<string>();
      const overwriting = (async () => {
        await until(() => ledBy(heir).length === SHARD_COUNT);
        for (const key of keys) {
          await atHeir.set(key, 'new');
          isNew.add(key);
        }
      })();
      // Asked all the time, on both sides of the change.
      for (let asked = 0; asked < 20; asked += isNew.size === keys.length ? 1 : 0) {
        for (const key of keys) {
          const mustNotBeOld = isNew.has(key);
          const found = await reader.ask('GET', key);
          if (mustNotBeOld || found !== '$3\r\nold\r\n') expect(found).toMatch(REDIRECTION);
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await overwriting;
      relay.resume();
      // What became of it cannot be told while etcd is silent.
      expect(await written()).toMatch(UNKNOWN);
      for (const key of keys) expect(await clusterClient([heir]).get(key)).toBe('new');
    }
    await expectSameState([cutOff.admin, heir.admin]);
    expect(await clusterClient([heir]).get(another)).toBeNull();
    await expectTermsInOrder(place);
  });
});
