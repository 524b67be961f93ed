/**
 * The session of this process: one lease, the node's presence under it, and how long the lease
 * holds for certain by the clock of this process.
 *
 * The clock is CLOCK_MONOTONIC. It runs on while the process is stopped; it stands still while a
 * virtual machine is suspended, which no clock of its own can tell (Leadership.confirm can). The
 * lease counts as held until `ttl - margin` after the last answered keepalive was sent, so the
 * clocks of this node and of etcd's leader may drift apart by `margin / ttl`, 20 % by default.
 *
 * A keepalive is answered by who takes itself for etcd's leader, without asking the others: one
 * that was stopped and resumed may do so wrongly. So each answer counts only once a write that was
 * sent after it was agreed in the same Raft term of etcd.
 */
import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { RaftsealError } from '@raftseal/interface';
import { kindOf } from './call-error.ts';
import type { EtcdClient } from './client.ts';
import { closedError, displacedError, identityInUse, reasonOf } from './errors.ts';
import type { EtcdEvent } from './events.ts';
import type { Keys } from './keys.ts';
import type { KeyValue } from './messages.ts';
import { foundBy, get, holds, isAbsent, isCreatedAt, put } from './transaction.ts';
import { Bell, sleep } from './waiting.ts';

export interface SessionOptions {
  readonly nodeId: string;
  readonly presence: Uint8Array;
  readonly leaseTtlMs: number;
  readonly leaseMarginMs: number;
  readonly onDisplaced: (error: RaftsealError) => void;
  readonly onEvent: (event: EtcdEvent) => void;
  /** Every leadership of this process is over, as of this call. */
  readonly onLapsed: (reason: string) => void;
}

/** A lease of etcd that holds this node's presence. */
export interface HeldLease {
  readonly id: string;
  /** Create revision of the presence. */
  readonly presenceRevision: bigint;
}

interface Lease extends HeldLease {
  validUntilMs: number;
}

const POLL_MS = 200;
/** How much longer than its time to live a predecessor's presence may take to go. */
const LAPSE_GRACE_MS = 3_000;
const LAPSE_WAIT_MS_MAX = 120_000;
/** How many times longer than one request opening waits for an answer. */
const OPEN_PATIENCE_REQUESTS = 5;
const PUBLISH_EVERY_MS = 1_000;
const REVOKE_PATIENCE_MS = 2_000;

export class Session {
  readonly processId: string = randomBytes(16).toString('hex');
  readonly #client: EtcdClient;
  readonly #keys: Keys;
  readonly #options: SessionOptions;
  readonly #changed = new Bell();
  readonly #ending = new AbortController();
  #lease: Lease | undefined;
  #isLapsed = false;
  #lapseTimer: NodeJS.Timeout | undefined;
  #displaced: RaftsealError | undefined;
  #presence: Uint8Array;
  #published: Uint8Array | undefined;
  #isPublishing = false;
  #kept: Promise<void> | undefined;

  constructor(client: EtcdClient, keys: Keys, options: SessionOptions) {
    this.#client = client;
    this.#keys = keys;
    this.#options = options;
    this.#presence = options.presence;
    // Every election that waits listens to it.
    setMaxListeners(0, this.#ending.signal);
  }

  /** The lease, whether or not it may have lapsed; undefined while there is none. */
  get lease(): HeldLease | undefined {
    return this.#lease;
  }

  /** Set once another process has taken over as this node. */
  get displaced(): RaftsealError | undefined {
    return this.#displaced;
  }

  /** Whether the lease holds for certain, by the clock, at this very moment. */
  isCurrent(): boolean {
    if (this.#lease === undefined) return false;
    if (performance.now() < this.#lease.validUntilMs) return true;
    this.#noteLapse();
    return false;
  }

  /**
   * Takes the identity of the node, after a predecessor's presence has gone.
   * @throws CallError; RAFTSEAL_ENGINE_IDENTITY_IN_USE
   */
  async open(): Promise<void> {
    let giveUpMs: number | undefined;
    for (;;) {
      const found = await this.#presenceInPlace();
      if (found === undefined) {
        if (await this.#take()) break;
        continue;
      }
      giveUpMs ??= performance.now() + (await this.#lapseWaitMs(found.lease));
      if (performance.now() > giveUpMs) throw identityInUse(this.#options.nodeId);
      await sleep(POLL_MS);
    }
    this.#kept = this.#keep();
  }

  /**
   * Resolves once the lease holds, by the clock.
   * @throws the signal's reason; RAFTSEAL_ENGINE_DISPLACED, RAFTSEAL_ENGINE_CLOSED
   */
  async held(signal: AbortSignal): Promise<HeldLease> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#displaced !== undefined) throw this.#displaced;
      if (this.#ending.signal.aborted) throw closedError();
      if (this.#lease !== undefined && this.isCurrent()) return this.#lease;
      await this.#changed.next(Number.POSITIVE_INFINITY, signal, this.#ending.signal);
    }
  }

  publish(presence: Uint8Array): void {
    this.#presence = Uint8Array.from(presence);
    if (!this.#isPublishing) void this.#publish();
  }

  /** Revokes the lease: presence and leaderships are free at once. */
  async close(): Promise<void> {
    this.#ending.abort();
    // A renewal under way may still end with a lease.
    await this.#kept;
    clearTimeout(this.#lapseTimer);
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease !== undefined) await this.#revoke(lease.id);
  }

  async #presenceInPlace(): Promise<KeyValue | undefined> {
    const key = this.#keys.node(this.#options.nodeId);
    return (await this.#client.persist('KV.Range', { key }, this.#openPatience)).kvs[0];
  }

  async #lapseWaitMs(leaseId: string): Promise<number> {
    let ttlMs = this.#options.leaseTtlMs;
    if (leaseId !== '0') {
      const request = { id: leaseId };
      const left = await this.#client.persist('Lease.LeaseTimeToLive', request, this.#openPatience);
      ttlMs = Math.max(ttlMs, 1000 * Number(left.grantedTtl));
    }
    return Math.min(ttlMs + LAPSE_GRACE_MS, LAPSE_WAIT_MS_MAX);
  }

  /** False where another process was faster. */
  async #take(): Promise<boolean> {
    const { node, process, processId } = this.#ownKeys();
    const sentMs = performance.now();
    const leaseId = await this.#grant(this.#openPatience);
    const request = {
      compare: [isAbsent(node)],
      success: [put(node, this.#presence, leaseId), put(process, processId)],
      failure: [get(node)],
    };
    const answer = await this.#client.persist('KV.Txn', request, this.#openPatience);
    const { succeeded, header, responses } = answer;
    const found = succeeded ? undefined : foundBy(responses[0]);
    // An earlier attempt that was not answered may have been made.
    if (!succeeded && found?.lease !== leaseId) {
      await this.#revoke(leaseId);
      return false;
    }
    this.#begin(leaseId, BigInt(found?.createRevision ?? header.revision), sentMs);
    return true;
  }

  get #openPatience(): { readonly patienceMs: number } {
    return { patienceMs: OPEN_PATIENCE_REQUESTS * this.#client.requestTimeoutMs };
  }

  async #grant(options: { readonly patienceMs: number }): Promise<string> {
    const ttl = Math.ceil(this.#options.leaseTtlMs / 1000);
    return (await this.#client.persist('Lease.LeaseGrant', { ttl }, options)).id;
  }

  #begin(id: string, presenceRevision: bigint, sentMs: number): void {
    this.#published = this.#presence;
    this.#lease = { id, presenceRevision, validUntilMs: 0 };
    this.#extend(this.#lease, sentMs);
  }

  #extend(lease: Lease, sentMs: number): void {
    const { leaseTtlMs, leaseMarginMs } = this.#options;
    lease.validUntilMs = sentMs + leaseTtlMs - leaseMarginMs;
    this.#isLapsed = false;
    this.#awaitLapse();
    if (this.isCurrent()) this.#changed.ring();
  }

  #awaitLapse(): void {
    clearTimeout(this.#lapseTimer);
    const lease = this.#lease;
    // A timer may be early.
    if (lease === undefined || !this.isCurrent()) return;
    const leftMs = Math.ceil(lease.validUntilMs - performance.now());
    this.#lapseTimer = setTimeout(() => this.#awaitLapse(), leftMs).unref();
  }

  #noteLapse(): void {
    if (this.#isLapsed) return;
    this.#isLapsed = true;
    const { leaseTtlMs, leaseMarginMs, onEvent, onLapsed } = this.#options;
    const reason = `etcd has not kept the lease alive for ${leaseTtlMs - leaseMarginMs} ms`;
    onLapsed(reason);
    onEvent({ kind: 'session-lapsed', message: reason });
  }

  async #keep(): Promise<void> {
    const { signal } = this.#ending;
    const everyMs = this.#options.leaseTtlMs / 5;
    let isKept = true;
    while (!signal.aborted && this.#displaced === undefined) {
      await sleep(isKept ? everyMs : POLL_MS, signal);
      if (signal.aborted) return;
      try {
        if (this.#lease === undefined) isKept = await this.#renew();
        else if (this.isCurrent()) isKept = await this.#keepAlive(this.#lease);
        else isKept = await this.#giveUp(this.#lease);
      } catch (error) {
        isKept = false;
        const message = reasonOf(error);
        if (kindOf(error) === 'denied') this.#options.onEvent({ kind: 'access-denied', message });
      }
    }
  }

  async #keepAlive(lease: Lease): Promise<boolean> {
    const timeoutMs = Math.min(this.#client.requestTimeoutMs, this.#options.leaseTtlMs / 5);
    const options = { timeoutMs, signal: this.#ending.signal };
    const sentMs = performance.now();
    const kept = await this.#client.call('Lease.LeaseKeepAlive', { id: lease.id }, options);
    if (Number(kept.ttl) <= 0) {
      this.#lose();
      return false;
    }
    const written = await this.#client.call('KV.DeleteRange', { key: this.#keys.sync }, options);
    if (written.header.raftTerm !== kept.header.raftTerm) return false;
    this.#extend(lease, sentMs);
    return true;
  }

  /**
   * A lease that has lapsed by the clock holds nothing of use any more, and is not kept alive: where
   * requests arrive and answers do not, its leader keys would stand in the way of every other node
   * for as long as that lasts.
   */
  async #giveUp({ id }: Lease): Promise<boolean> {
    const options = { patienceMs: REVOKE_PATIENCE_MS };
    try {
      await this.#client.persist('Lease.LeaseRevoke', { id }, options);
    } catch (error) {
      if (kindOf(error) !== 'leaseNotFound') throw error;
    }
    this.#lose();
    return false;
  }

  #lose(): void {
    this.#lease = undefined;
    clearTimeout(this.#lapseTimer);
    const reason = 'etcd has forgotten the lease of this node';
    this.#options.onLapsed(reason);
    this.#options.onEvent({ kind: 'session-lost', message: reason });
  }

  /** True once this node is present again, or never will be. */
  async #renew(): Promise<boolean> {
    const { node, process, processId } = this.#ownKeys();
    const sentMs = performance.now();
    const options = { patienceMs: this.#client.requestTimeoutMs };
    const leaseId = await this.#grant(options);
    const presence = this.#presence;
    const request = {
      compare: [isAbsent(node), holds(process, processId)],
      success: [put(node, presence, leaseId)],
      failure: [get(node), get(process)],
    };
    const { succeeded, header, responses } = await this.#client.persist('KV.Txn', request, options);
    const [found, holder] = succeeded ? [] : responses.map(foundBy);
    if (succeeded || found?.lease === leaseId) {
      this.#begin(leaseId, BigInt(found?.createRevision ?? header.revision), sentMs);
      this.#published = presence;
      this.#options.onEvent({ kind: 'session-renewed', message: 'this node has a new lease' });
      if (this.#presence !== presence) this.publish(this.#presence);
      return true;
    }
    await this.#revoke(leaseId);
    if (holder?.value.equals(processId)) return false;
    this.#displace();
    return true;
  }

  #displace(): void {
    const { nodeId, onDisplaced, onEvent } = this.#options;
    this.#displaced = displacedError(nodeId);
    this.#changed.ring();
    onEvent({ kind: 'displaced', message: this.#displaced.message });
    onDisplaced(this.#displaced);
  }

  async #publish(): Promise<void> {
    this.#isPublishing = true;
    const { signal } = this.#ending;
    while (!signal.aborted && this.#published !== this.#presence) {
      const presence = this.#presence;
      try {
        const lease = await this.held(signal);
        const key = this.#keys.node(this.#options.nodeId);
        const { succeeded } = await this.#client.call('KV.Txn', {
          compare: [isCreatedAt(key, lease.presenceRevision)],
          success: [put(key, presence, lease.id)],
        });
        if (succeeded) this.#published = presence;
      } catch {
        // Tried again below, until it is published, or until there is nobody to be any more.
        if (this.#displaced !== undefined) break;
      }
      await sleep(PUBLISH_EVERY_MS, signal);
    }
    this.#isPublishing = false;
  }

  async #revoke(id: string): Promise<void> {
    // Where it cannot be revoked, it lapses.
    const options = { patienceMs: REVOKE_PATIENCE_MS };
    await this.#client.persist('Lease.LeaseRevoke', { id }, options).catch(() => {});
  }

  #ownKeys(): { node: Buffer; process: Buffer; processId: Buffer } {
    const { nodeId } = this.#options;
    const processId = Buffer.from(this.processId);
    return { node: this.#keys.node(nodeId), process: this.#keys.process(nodeId), processId };
  }
}
