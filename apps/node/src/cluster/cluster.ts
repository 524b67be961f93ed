/**
 * A node as one of several: its logs are in etcd, the others are its peers. What is put together
 * here happens in this order:
 *
 * 1. session in etcd: no other process has this node's identity
 * 2. the cluster is the one that the data directory is of, or is founded
 * 3. peer listener, presence, view of the others
 * 4. membership: admitted by the leader of the control shard, which tries this node's KEK
 * 5. logs replayed, from snapshots of others where they are truncated (the node does it)
 * 6. control shard campaigned for; this process registered as a writer
 * 7. data shards campaigned for; housekeeping
 */
import { assert, CONTROL_SHARD, codeOf, RaftsealError } from '@raftseal/interface';
import { type EtcdLog, openEtcdLog } from '@raftseal/raft-engine-etcd';
import type { Restored } from '@raftseal/shard-group';
import type { Logger } from 'pino';
import type { AdminOperations, ClusterStatus } from '../admin/operations.ts';
import type { Address, ClusterConfig } from '../config.ts';
import type { DataDirectory } from '../data-directory.ts';
import type { NodeFoundations } from '../foundations.ts';
import type { KeyOperations } from '../key-operations.ts';
import type { NodeLogs } from '../node-logs.ts';
import type { NodeShard, ShardPeers } from '../node-shard.ts';
import type { AuditMember } from '../nonces/nonce-audit.ts';
import { peerMember } from '../nonces/peer-member.ts';
import { peerUrl } from '../peer/access.ts';
import { peerServer } from '../peer/server.ts';
import type { OtherMembers } from '../retirement/retirement.ts';
import type { AskedMember } from '../sealed-only/members.ts';
import type { Teardown } from '../teardown.ts';
import { checkCapabilities } from './capability.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { type ClusterRecord, PREFERRED, type Role } from './cluster-record.ts';
import { clusterStatus } from './cluster-status.ts';
import { ClusterView } from './cluster-view.ts';
import { ControlCalls } from './control-calls.ts';
import { ControlChannel } from './control-channel.ts';
import { etcdLogs } from './etcd-logs.ts';
import { learnSealedOnly } from './learn-sealed-only.ts';
import { LogTruncation } from './log-truncation.ts';
import { type AskedSelf, membersAsked, otherMembers } from './member-calls.ts';
import { Membership, notInReach } from './membership.ts';
import { PeerService } from './peer-service.ts';
import { Placement } from './placement.ts';
import { encodePresence, nowhere, presenceOf } from './presence.ts';
import { SnapshotExchange, type SnapshotSource } from './snapshot-exchange.ts';
import { WriterRegistration } from './writer-registration.ts';

export interface ClusterParts {
  readonly config: ClusterConfig;
  readonly access: ClusterAccess;
  readonly log: Logger;
  readonly teardown: Teardown;
  /** This node may take no part any more: it was removed, or another process has its identity. */
  readonly onExcluded: (error: RaftsealError) => void;
}

/** What the cluster needs of the node around it, once that exists. */
export interface ClusterHost {
  readonly foundations: NodeFoundations;
  readonly operations: KeyOperations;
  readonly admin: AdminOperations;
  readonly isRestoring: boolean;
}

const PRESENCE_PERIOD_MS = 1_000;
const COMPACTION_PERIOD_MS = 60_000;
/** How long a member that is gone holds the logs of its shards. */
const HOLD_MS = 10 * 60_000;
const JOIN_REPORT_MS = 5_000;
/** Whoever leaves is not elected once more before it is gone. */
const LEAVING_YIELD_MS = 60_000;

export class Cluster implements ShardPeers {
  readonly #parts: ClusterParts;
  readonly #etcd: EtcdLog;
  readonly #membership: Membership;
  readonly #record: ClusterRecord;
  readonly #nodeId: string;
  readonly #end = new AbortController();
  readonly #addresses: { redis: Address | undefined; peer: Address | undefined };
  readonly #timers: NodeJS.Timeout[] = [];
  #joined: Joined | undefined;
  #role: Role = 'learner';
  /** Whether it stands for election on every shard. */
  #stands = false;

  /**
   * Takes this node's session in etcd and finds the cluster, or founds it.
   * @throws RAFTSEAL_ENGINE_UNAVAILABLE, RAFTSEAL_ENGINE_IDENTITY_IN_USE, RAFTSEAL_ENGINE_ACCESS_DENIED,
   *   RAFTSEAL_NODE_CLUSTER_FORMAT, RAFTSEAL_NODE_FOREIGN_CLUSTER, RAFTSEAL_NODE_SHARD_COUNT
   */
  static async open(directory: DataDirectory, parts: ClusterParts): Promise<Cluster> {
    const { config, access, log, onExcluded } = parts;
    const { nodeId, shardCount } = directory;
    const etcd = await openEtcdLog({
      access: access.etcd,
      prefix: config.etcd.prefix,
      nodeId,
      shardIds: Array.from({ length: shardCount }, (_, shardId) => shardId),
      leaseTtlMs: config.etcd.leaseTtlMs,
      spaceBytesMax: config.etcd.spaceBytesMax,
      presence: encodePresence(nowhere),
      onDisplaced: onExcluded,
      onEvent: ({ kind, message, ...where }) => log.info({ kind, ...where }, message),
    });
    try {
      const membership = new Membership(etcd.documents);
      const record = await membership.open(directory.clusterName, shardCount);
      if (directory.clusterName === undefined) await directory.joined(record.name);
      return new Cluster(parts, { etcd, membership, record, nodeId });
    } catch (error) {
      await etcd.close();
      throw error;
    }
  }

  private constructor(
    parts: ClusterParts,
    own: {
      readonly etcd: EtcdLog;
      readonly membership: Membership;
      readonly record: ClusterRecord;
      readonly nodeId: string;
    },
  ) {
    this.#parts = parts;
    this.#etcd = own.etcd;
    this.#membership = own.membership;
    this.#record = own.record;
    this.#nodeId = own.nodeId;
    this.#addresses = { redis: undefined, peer: undefined };
  }

  get logs(): NodeLogs {
    return etcdLogs(this.#etcd);
  }

  get reads(): 'lease' | 'strict' {
    return this.#parts.config.reads;
  }

  restore(shardId: number, signal: AbortSignal): Promise<Restored> {
    return this.#node.snapshots.restore(shardId, signal);
  }

  yieldMs(shardId: number): number {
    if (this.#end.signal.aborted) return LEAVING_YIELD_MS;
    return this.#node.placement.yieldMs(shardId);
  }

  get view(): ClusterView {
    return this.#node.view;
  }

  /** True where this node leads the control shard and may serve it now. */
  get leadsControl(): boolean {
    return this.#joined?.shards[CONTROL_SHARD]?.group.isReadable === true;
  }

  /** The other members, for the first keys. */
  get otherMembers(): readonly string[] {
    return [...this.view.members.keys()].filter((nodeId) => nodeId !== this.#nodeId);
  }

  /** Every member, this one too, to be asked what it has. */
  membersAsked(self: AskedSelf): Promise<readonly AskedMember[]> {
    const { access } = this.#parts;
    const { view } = this.#node;
    const ids = (): Promise<readonly string[]> => this.#membership.ids();
    return membersAsked({ nodeId: this.#nodeId, view, access, ids }, self);
  }

  /** Steps 3 and 4: this node is a member once it resolves. */
  async join(host: ClusterHost): Promise<void> {
    const { config, access, log, teardown } = this.#parts;
    const { foundations, operations, isRestoring } = host;
    const { keys, shards } = foundations;
    const view = new ClusterView({
      nodeId: this.#nodeId,
      shardCount: shards.length,
      advertised: () => ({
        redis: this.#addresses.redis ?? config.advertise.redis,
        peer: this.#addresses.peer ?? config.advertise.peer,
      }),
    });
    teardown.add(() => view.close());
    keys.ledger.includeOthers((dekId) => view.sealsOfOthers(dekId));
    const control = new ControlChannel({
      nodeId: this.#nodeId,
      view,
      access: access.peers,
      leadsControl: () => this.leadsControl,
    });
    const snapshots = new SnapshotExchange({
      clusterName: this.#record.name,
      keys,
      shards,
      sources: (shardId) => this.#sourcesOf(shardId),
      log,
    });
    const placement = new Placement({ nodeId: this.#nodeId, view, shards, log });
    teardown.add(() => placement.stop());
    const peers = new PeerService({
      keys,
      shards,
      operations,
      membership: this.#membership,
      view,
      control,
      snapshots,
      logs: foundations.logs,
      isRestoring,
      challenge: (address, challenge) =>
        access.client.proveCapability(peerUrl(access.peers, address), challenge),
    });
    const registration = new WriterRegistration({
      nodeId: this.#nodeId,
      keyLifecycle: keys.lifecycle,
      record: (request, signal) =>
        control.untilDone(
          {
            here: () => peers.recordRegistration(request),
            there: (url) => access.client.recordRegistration(url, request),
          },
          { signal },
        ),
      log,
    });
    teardown.add(() => registration.close());
    this.#joined = {
      keys,
      shards,
      operations,
      view,
      control,
      snapshots,
      placement,
      peers,
      registration,
    };
    teardown.add(() => this.leave());
    const server = await peerServer(config.peer, {
      access: access.peers,
      operations: peers,
      admin: host.admin,
      onInternalError: (error) => log.error({ err: error }, 'a call of a peer failed'),
    });
    teardown.add(() => server.close());
    this.#end.signal.throwIfAborted();
    this.#addresses.peer = addressOf(config.advertise.peer, server.port);
    this.#publish();
    this.#every(PRESENCE_PERIOD_MS, () => this.#publish());
    await view.follow(this.#etcd.documents);
    this.#role = await this.#becomeMember();
    view.onChange(() => void this.#checkMembership());
  }

  /** Clients are sent here from now on. */
  serveClients(redisPort: number): void {
    this.#addresses.redis = addressOf(this.#parts.config.advertise.redis, redisPort);
    this.#publish();
  }

  /** Steps 6 and 7, after the logs were replayed. */
  async takePart(): Promise<void> {
    const { shards, view, registration, placement, keys } = this.#node;
    if (this.#role === 'voter' && registration.canRecord) this.#campaign(shards.slice(0, 1));
    await registration.ensure();
    this.#end.signal.throwIfAborted();
    // A key that was made while this process did not run is claimed as soon as it is known.
    keys.lifecycle.onChange(() => setImmediate(() => void registration.ensure().catch(() => 0)));
    if (this.#role === 'voter') this.#campaign(shards);
    // A learner that is made a voter.
    view.onChange(() => {
      if (view.members.get(this.#nodeId) === 'voter') this.#campaign(shards);
    });
    placement.start();
    const truncation = new LogTruncation({
      view,
      shards,
      holdMs: HOLD_MS,
      spaceTaken: () => this.#spaceTaken,
    });
    truncation.start();
    this.#parts.teardown.add(() => truncation.stop());
    this.#every(COMPACTION_PERIOD_MS, () => void this.#compact());
  }

  /** Asks every other member, afresh, whether it can seal and open; names the one that cannot. */
  async checkMembers(): Promise<void> {
    const { client } = this.#parts.access;
    await checkCapabilities(this.otherMembers, this.#node.keys.keks, (nodeId, challenge) =>
      client.proveCapability(this.#urlOf(nodeId), challenge),
    );
  }

  /** What the leader of the control shard asks of the others before a DEK is retired. */
  get others(): OtherMembers {
    const { client } = this.#parts.access;
    const ids = (): Promise<readonly string[]> => this.#membership.ids();
    return otherMembers({ nodeId: this.#nodeId, ids, client, urlOf: (id) => this.#urlOf(id) });
  }

  /** Every other member, in reach or not, for an audit of nonces. */
  async auditedPeers(): Promise<readonly AuditMember[]> {
    const { client } = this.#parts.access;
    const ids = await this.others.ids();
    return ids.map((nodeId) => peerMember(nodeId, client, () => this.#urlOf(nodeId)));
  }

  /** Admin calls that the leader of the control shard answers. */
  get controlCalls(): ControlCalls {
    const { control } = this.#node;
    const { client } = this.#parts.access;
    return new ControlCalls({ control, client, signal: this.#end.signal });
  }

  /** @throws RAFTSEAL_NODE_UNKNOWN_MEMBER, RAFTSEAL_NODE_LAST_VOTER */
  removeMember(nodeId: string): Promise<void> {
    return this.#changeMembers((term) => this.#membership.remove(nodeId, term));
  }

  /** Makes a learner a voter. @throws RAFTSEAL_NODE_UNKNOWN_MEMBER */
  promoteMember(nodeId: string): Promise<void> {
    return this.#changeMembers((term) => this.#membership.promote(nodeId, term));
  }

  /**
   * Wishes for a node to lead a shard from now on; `null` takes the wish back.
   * @throws RAFTSEAL_NODE_UNKNOWN_MEMBER for a node that is no live voter
   */
  async preferLeader(shardId: number, nodeId: string | null): Promise<void> {
    const { view, shards } = this.#node;
    if (shards[shardId] === undefined) {
      const message = `expected a shard from 0 to ${shards.length - 1}`;
      throw new RaftsealError('RAFTSEAL_NODE_BAD_REQUEST', message);
    }
    if (nodeId !== null && !view.liveVoters.includes(nodeId)) throw notInReach(nodeId);
    const name = `${PREFERRED}${shardId}`;
    const change = nodeId === null ? { remove: name } : { put: name, value: Buffer.from(nodeId) };
    await this.#etcd.documents.write([change]);
  }

  /**
   * Hands every shard over. To be called while the listeners are open: clients are sent on to who
   * leads next, and wait as little as can be. Idempotent.
   */
  async leave(): Promise<void> {
    this.#end.abort(new Error('this node is stopping'));
    for (const timer of this.#timers) clearInterval(timer);
    const groups = this.#joined?.shards.map(({ group }) => group) ?? [];
    await Promise.all(groups.map((group) => group.handOver().catch(() => undefined)));
  }

  status(): ClusterStatus {
    const { view } = this.#node;
    const { dbBytes } = this.#etcd.status();
    return clusterStatus({ record: this.#record, view, nodeId: this.#nodeId, etcdBytes: dbBytes });
  }

  get #node(): Joined {
    assert(this.#joined, 'a node joins its cluster before it does anything in it');
    return this.#joined;
  }

  get #spaceTaken(): number {
    return this.#etcd.status().dbBytes / this.#parts.config.etcd.spaceBytesMax;
  }

  #urlOf(nodeId: string): string {
    const address = this.#node.view.peerAddressOf(nodeId);
    if (address === undefined) throw notInReach(nodeId);
    return peerUrl(this.#parts.access.peers, address);
  }

  #campaign(shards: readonly NodeShard[]): void {
    for (const { group } of shards) group.campaign();
    this.#stands = shards.length === this.#node.shards.length;
  }

  #publish(): void {
    const { shards, keys } = this.#node;
    const own = { ...this.#addresses, stands: this.#stands };
    this.#etcd.publish(encodePresence(presenceOf(own, { shards, keys })));
  }

  async #becomeMember(): Promise<Role> {
    const { config, access, log } = this.#parts;
    const { peers, control, keys } = this.#node;
    const { signal } = this.#end;
    const known = await this.#membership.roleOf(this.#nodeId);
    if (known !== undefined) return known;
    if (config.role === 'voter' && (await this.#membership.beFirst(this.#nodeId))) {
      log.info({ cluster: this.#record.name }, 'this node is the first of a new cluster');
      return 'voter';
    }
    let reportAtMs = performance.now() + JOIN_REPORT_MS;
    const onRetry = (code: string): void => {
      if (performance.now() < reportAtMs) return;
      reportAtMs = performance.now() + JOIN_REPORT_MS;
      log.warn({ code }, 'waiting to be admitted by the leader of the control shard');
    };
    await control.untilDone(
      {
        here: () => Promise.reject(new Error('who is no member leads nothing')),
        there: async (url) => {
          const { peer } = this.#addresses;
          assert(peer, 'the peer listener is open');
          const identity = peers.identity();
          await access.client.join(url, { identity, role: config.role, peer });
        },
      },
      { signal, onRetry },
    );
    await learnSealedOnly({ keys, control, client: access.client }, signal);
    log.info({ cluster: this.#record.name, role: config.role }, 'admitted to the cluster');
    return config.role;
  }

  /** A node that was removed leaves at once: the others no longer wait for it. */
  async #checkMembership(): Promise<void> {
    const { view } = this.#node;
    if (view.members.size === 0 || view.members.has(this.#nodeId)) return;
    try {
      await this.#membership.roleOf(this.#nodeId);
    } catch (error) {
      const gone = codeOf(error) === 'RAFTSEAL_NODE_REMOVED' && error instanceof RaftsealError;
      if (gone) this.#parts.onExcluded(error);
    }
  }

  async #changeMembers(change: (term: bigint) => Promise<void>): Promise<void> {
    const { control, operations, shards } = this.#node;
    await operations.exclusively(async () => {
      control.checkLeads();
      const term = shards[CONTROL_SHARD]?.group.term;
      if (term !== undefined) await change(term);
    });
  }

  /** Nodes that may have what this one lacks: who leads first, then who has most. */
  #sourcesOf(shardId: number): readonly SnapshotSource[] {
    const { view } = this.#node;
    const { client, peers } = this.#parts.access;
    const leaderId = view.leaderIdOf(shardId);
    const weight = (nodeId: string): bigint =>
      nodeId === leaderId
        ? 2n ** 64n
        : (view.live.get(nodeId)?.presence.durableIndexes[shardId] ?? 0n);
    return this.otherMembers
      .toSorted((a, b) => (weight(a) < weight(b) ? 1 : -1))
      .flatMap((nodeId) => {
        const address = view.peerAddressOf(nodeId);
        if (address === undefined) return [];
        return [{ nodeId, fetch: () => client.snapshot(peerUrl(peers, address), shardId) }];
      });
  }

  /** Only one node does it, or history would go faster than it was meant to. */
  async #compact(): Promise<void> {
    if (!this.leadsControl) return;
    try {
      await this.#etcd.compact();
    } catch (error) {
      this.#parts.log.warn({ code: codeOf(error) }, 'etcd was not compacted');
    }
  }

  #every(periodMs: number, act: () => void): void {
    this.#timers.push(setInterval(act, periodMs));
  }
}

interface Joined {
  readonly keys: NodeFoundations['keys'];
  readonly shards: readonly NodeShard[];
  readonly operations: KeyOperations;
  readonly view: ClusterView;
  readonly control: ControlChannel;
  readonly snapshots: SnapshotExchange;
  readonly placement: Placement;
  readonly peers: PeerService;
  readonly registration: WriterRegistration;
}

/** The address that others are told: the port is the one that the listener got. */
function addressOf({ host, port }: Address, listening: number): Address {
  return { host, port: port === 0 ? listening : port };
}
