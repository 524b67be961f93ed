/**
 * Who leads which shard, as etcd tells it, and the keys that say so of this process.
 *
 * A key under the lease of this process that no reign stands for is given back: an election whose
 * answer was lost may have been won, and nobody else could be elected while the session lives.
 */
import { kindOf } from './call-error.ts';
import type { KeyValue } from './messages.ts';
import { PrefixView, type PrefixViewParts } from './prefix-view.ts';
import type { Session } from './session.ts';
import { isCreatedAt, remove } from './transaction.ts';
import { sleep } from './waiting.ts';

/** What this process claims. */
export interface Claim {
  /** Create revision of the leader key. */
  readonly term: bigint;
  /** The claim is void. */
  readonly onVoid: (reason: string) => void;
}

const LIST_EVERY_MS = 3_000;
const RETRY_DELAY_MS = 500;

export class Leaders {
  readonly #parts: PrefixViewParts;
  readonly #session: Session;
  readonly #view: PrefixView;
  readonly #claims: Map<number, Claim> = new Map();
  /** Shards with an election under way, whose key may be there before its term is known. */
  readonly #standing: Set<number> = new Set();
  readonly #givingBack: Map<string, Promise<void>> = new Map();

  constructor(parts: PrefixViewParts, session: Session) {
    this.#parts = parts;
    this.#session = session;
    const { closing } = parts.client;
    this.#view = new PrefixView(parts, {
      under: 'leaders/',
      listEveryMs: LIST_EVERY_MS,
      signal: closing,
    });
    void this.#follow(closing);
  }

  /** The key of the shard's leader; undefined where there is none, `unknown` before any is known. */
  holder(shardId: number): KeyValue | 'unknown' | undefined {
    if (this.#view.revision === 0n) return 'unknown';
    return this.#view.states.get(`leaders/${shardId}`);
  }

  /** Resolves after the next change, after `ms`, or when the signal aborts. */
  change(ms: number, signal: AbortSignal): Promise<void> {
    return this.#view.changed.next(ms, signal);
  }

  /** While it stands for election, a key of this process is not given back. */
  standFor(shardId: number): void {
    this.#standing.add(shardId);
  }

  /** The election is over. Without a claim, the key is given back, should it come to be there. */
  endElection(shardId: number, claim: Claim | undefined): void {
    this.#standing.delete(shardId);
    if (claim !== undefined) this.#claims.set(shardId, claim);
    // Its end may be known already.
    this.#checkClaims();
    this.#sweep();
  }

  /** Resolves once the key is gone, or will go with the session. */
  async resign(shardId: number, term: bigint): Promise<void> {
    if (this.#claims.get(shardId)?.term === term) this.#claims.delete(shardId);
    await this.#giveBack(shardId, term);
  }

  async #follow(closing: AbortSignal): Promise<void> {
    while (!closing.aborted) {
      this.#checkClaims();
      this.#sweep();
      await this.#view.changed.next(Number.POSITIVE_INFINITY, closing);
    }
  }

  #checkClaims(): void {
    for (const [shardId, { term, onVoid }] of this.#claims) {
      const found = this.#view.states.get(`leaders/${shardId}`);
      // What is known may be older than the claim.
      if (this.#view.revision < term || found?.createRevision === term.toString()) continue;
      this.#claims.delete(shardId);
      onVoid(found === undefined ? 'its key in etcd is gone' : 'another node was elected');
    }
  }

  #sweep(): void {
    const leaseId = this.#session.lease?.id;
    for (const [name, { lease, createRevision }] of this.#view.states) {
      const shardId = Number(name.slice('leaders/'.length));
      if (lease !== leaseId || this.#standing.has(shardId)) continue;
      const term = BigInt(createRevision);
      if (this.#claims.get(shardId)?.term !== term) void this.#giveBack(shardId, term);
    }
  }

  #giveBack(shardId: number, term: bigint): Promise<void> {
    const name = `${shardId} ${term}`;
    const underWay = this.#givingBack.get(name);
    if (underWay !== undefined) return underWay;
    const ended = this.#remove(shardId, term).finally(() => this.#givingBack.delete(name));
    this.#givingBack.set(name, ended);
    return ended;
  }

  async #remove(shardId: number, term: bigint): Promise<void> {
    const { client, keys } = this.#parts;
    const key = keys.leader(shardId);
    const request = { compare: [isCreatedAt(key, term)], success: [remove(key)] };
    while (!client.closing.aborted) {
      try {
        await client.persist('KV.Txn', request);
        return;
      } catch (error) {
        // A full etcd takes no transaction, not even this; nor does it let anyone be elected.
        if (kindOf(error) !== undefined) await sleep(RETRY_DELAY_MS, client.closing);
      }
    }
  }
}
