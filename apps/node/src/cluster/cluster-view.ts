/**
 * The cluster as this node sees it: members, live nodes, leaders, wishes of operators. Fed by
 * watches of etcd, so it may be behind; nothing that has to be certain rests on it.
 */
import { createHash } from 'node:crypto';
import type { Document, EtcdDocuments } from '@raftseal/raft-engine-etcd';
import type { Address } from '../config.ts';
import { slotsOfShard } from '../keyspace-of-shards.ts';
import type { ClusterNode, ClusterTopology, SlotRange } from '../redis/index.ts';
import { decodeMember, LEADERS, MEMBERS, NODES, PREFERRED, type Role } from './cluster-record.ts';
import { decodePresence, type Presence } from './presence.ts';

export interface ClusterViewOptions {
  readonly nodeId: string;
  readonly shardCount: number;
  /** Where this node says that it is reached. */
  readonly advertised: () => { readonly redis: Address; readonly peer: Address };
}

/** A live node. */
export interface Neighbour {
  readonly presence: Presence;
  /** When this node first saw it, by the monotonic clock. */
  readonly sinceMs: number;
}

export class ClusterView implements ClusterTopology {
  readonly #options: ClusterViewOptions;
  readonly #end = new AbortController();
  readonly #listeners = new Set<() => void>();
  readonly #watches: Promise<void>[] = [];
  #members: ReadonlyMap<string, Role> = new Map();
  #live: ReadonlyMap<string, Neighbour> = new Map();
  #leaders: ReadonlyMap<number, string> = new Map();
  #preferred: ReadonlyMap<number, string> = new Map();
  /** Addresses outlive the presence of their node: a client may still hold them. */
  readonly #lastSeen = new Map<string, Presence>();
  #nodes: readonly ClusterNode[] | undefined;
  #epoch = 1;

  constructor(options: ClusterViewOptions) {
    this.#options = options;
  }

  /** Resolves once every part has been read. */
  async follow(documents: EtcdDocuments): Promise<void> {
    const parts: [string, (found: ReadonlyMap<string, Document>) => void][] = [
      [MEMBERS, (found) => this.#readMembers(found)],
      [NODES, (found) => this.#readNodes(found)],
      [LEADERS, (found) => this.#readLeaders(found)],
      [PREFERRED, (found) => this.#readPreferred(found)],
    ];
    await Promise.all(parts.map(([under, read]) => this.#watch(documents, under, read)));
  }

  async close(): Promise<void> {
    this.#end.abort();
    await Promise.all(this.#watches);
  }

  /** Calls `listener` after each change. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  get members(): ReadonlyMap<string, Role> {
    return this.#members;
  }

  get live(): ReadonlyMap<string, Neighbour> {
    return this.#live;
  }

  /** Node ids in the order of all nodes. */
  get liveVoters(): readonly string[] {
    return [...this.#members]
      .filter(([nodeId, role]) => role === 'voter' && this.#live.has(nodeId))
      .map(([nodeId]) => nodeId)
      .toSorted();
  }

  leaderIdOf(shardId: number): string | undefined {
    return this.#leaders.get(shardId);
  }

  preferredOf(shardId: number): string | undefined {
    return this.#preferred.get(shardId);
  }

  /** How often the other nodes have sealed under a DEK, as far as they have been seen here. */
  sealsOfOthers(dekId: number): bigint {
    let seals = 0n;
    for (const [nodeId, presence] of this.#lastSeen) {
      if (nodeId !== this.#options.nodeId) seals += presence.seals.get(dekId) ?? 0n;
    }
    return seals;
  }

  /** Where a live node takes calls of others. */
  peerAddressOf(nodeId: string): Address | undefined {
    return this.#live.get(nodeId)?.presence.peer;
  }

  get self(): ClusterNode {
    const { nodeId } = this.#options;
    const { redis, peer } = this.#options.advertised();
    return {
      id: clusterNodeId(nodeId),
      host: redis.host,
      port: redis.port,
      peerPort: peer.port,
      role: this.#members.get(nodeId) ?? 'learner',
      isAlive: true,
      isSelf: true,
    };
  }

  nodes(): readonly ClusterNode[] {
    this.#nodes ??= [...this.#members.keys()].toSorted().flatMap((nodeId) => {
      const node = this.#nodeOf(nodeId);
      return node ? [node] : [];
    });
    return this.#nodes;
  }

  leaderOf(shardId: number): ClusterNode | undefined {
    const nodeId = this.#leaders.get(shardId);
    if (nodeId === undefined) return undefined;
    const node = this.#nodeOf(nodeId);
    return node?.isAlive ? node : undefined;
  }

  slotsOf(shardId: number): SlotRange {
    return slotsOfShard(shardId, this.#options.shardCount);
  }

  get epoch(): number {
    return this.#epoch;
  }

  #nodeOf(nodeId: string): ClusterNode | undefined {
    if (nodeId === this.#options.nodeId) return this.self;
    const presence = this.#live.get(nodeId)?.presence ?? this.#lastSeen.get(nodeId);
    const { redis, peer } = presence ?? {};
    if (redis === undefined || peer === undefined) return undefined;
    return {
      id: clusterNodeId(nodeId),
      host: redis.host,
      port: redis.port,
      peerPort: peer.port,
      role: this.#members.get(nodeId) ?? 'learner',
      isAlive: this.#live.has(nodeId),
      isSelf: false,
    };
  }

  #watch(
    documents: EtcdDocuments,
    under: string,
    read: (found: ReadonlyMap<string, Document>) => void,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const watch = async (): Promise<void> => {
        for await (const found of documents.watch(under, { signal: this.#end.signal })) {
          read(found);
          this.#changed();
          resolve();
        }
      };
      this.#watches.push(watch().catch(reject));
    });
  }

  #changed(): void {
    this.#epoch++;
    this.#nodes = undefined;
    for (const listener of this.#listeners) listener();
  }

  #readMembers(found: ReadonlyMap<string, Document>): void {
    this.#members = mapped(found, MEMBERS, (name, { value }) => {
      const role = decodeMember(value);
      return role && [name, role];
    });
  }

  #readNodes(found: ReadonlyMap<string, Document>): void {
    const nowMs = performance.now();
    this.#live = mapped(found, NODES, (nodeId, { value }) => {
      const presence = decodePresence(value);
      if (presence === undefined) return undefined;
      this.#lastSeen.set(nodeId, presence);
      return [nodeId, { presence, sinceMs: this.#live.get(nodeId)?.sinceMs ?? nowMs }];
    });
  }

  #readLeaders(found: ReadonlyMap<string, Document>): void {
    this.#leaders = mapped(found, LEADERS, (name, { value }) => [
      Number(name),
      Buffer.from(value).toString('utf8'),
    ]);
  }

  #readPreferred(found: ReadonlyMap<string, Document>): void {
    this.#preferred = mapped(found, PREFERRED, (name, { value }) => [
      Number(name),
      Buffer.from(value).toString('utf8'),
    ]);
  }
}

/** What Redis clients know a node by: 40 hex digits. */
export function clusterNodeId(nodeId: string): string {
  return createHash('sha1').update(nodeId).digest('hex');
}

function mapped<Key, Value>(
  found: ReadonlyMap<string, Document>,
  under: string,
  read: (name: string, document: Document) => readonly [Key, Value] | undefined,
): ReadonlyMap<Key, Value> {
  const map = new Map<Key, Value>();
  for (const document of found.values()) {
    const entry = read(document.name.slice(under.length), document);
    if (entry) map.set(entry[0], entry[1]);
  }
  return map;
}
