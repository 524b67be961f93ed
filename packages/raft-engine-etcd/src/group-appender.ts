/**
 * Group commit. The appends of all shards that wait travel as nested transactions of one
 * transaction, each with its own fences and its own outcome; one is under way at a time.
 *
 * Each nested transaction puts an entry if the leader key was created at the append's term and the
 * slot is free. Otherwise it tells what stands in the slot: the very same bytes are an earlier
 * attempt of the same append that was made, since they carry the term, and only this process
 * appends in it.
 *
 * etcd 3.4 looks neither for permissions nor for the quota inside nested transactions. So there is
 * a put beside them, in the branch that is never taken: for that, it looks for both.
 */
import type { AppendOutcome } from '@raftseal/interface';
import { kindOf } from './call-error.ts';
import type { EtcdClient } from './client.ts';
import { accessDenied, reasonOf, refusedBySize, unavailable } from './errors.ts';
import type { Keys } from './keys.ts';
import { syncRevision } from './log-bounds.ts';
import type { KeyValue, RequestOp, ResponseOp } from './messages.ts';
import type { Space } from './space.ts';
import { foundBy, get, isAbsent, isCreatedAt, put } from './transaction.ts';

export interface Append {
  readonly shardId: number;
  readonly index: bigint;
  readonly term: bigint;
  /** The encoded entry. */
  readonly value: Buffer;
}

interface Pending extends Append {
  readonly resolve: (outcome: AppendOutcome) => void;
}

/** etcd takes 128 operations in one transaction, by default. */
const GROUP_APPENDS_MAX = 100;
/** Of the 1.5 MiB that etcd takes in one request, by default. */
const GROUP_BYTES_MAX = 1_400_000;
/** Of one append beside its value: three keys and what frames them. */
const OVERHEAD_BYTES = 900;
const NOTHING = Buffer.alloc(0);

export class GroupAppender {
  readonly #client: EtcdClient;
  readonly #keys: Keys;
  readonly #space: Space;
  #queue: Pending[] = [];
  #running: Promise<void> | undefined;
  #appendsMax = GROUP_APPENDS_MAX;

  constructor(parts: { client: EtcdClient; keys: Keys; space: Space }) {
    this.#client = parts.client;
    this.#keys = parts.keys;
    this.#space = parts.space;
  }

  append(append: Append): Promise<AppendOutcome> {
    return new Promise((resolve) => {
      this.#queue.push({ ...append, resolve });
      this.#running ??= this.#run();
    });
  }

  /** Resolves once nothing waits or is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    for (;;) {
      // One turn later, so that the group holds all appends of this turn and not just the first.
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#queue.length === 0) break;
      await this.#send(this.#takeGroup());
    }
    this.#running = undefined;
  }

  #takeGroup(): Pending[] {
    let byteLength = 0;
    let count = 0;
    for (const { value } of this.#queue) {
      byteLength += OVERHEAD_BYTES + value.byteLength;
      if (count > 0 && (byteLength > GROUP_BYTES_MAX || count === this.#appendsMax)) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #send(group: readonly Pending[]): Promise<void> {
    try {
      const success = group.map((append) => this.#request(append));
      const request = { success, failure: [put(this.#keys.sync, NOTHING)] };
      const { responses } = await this.#client.call('KV.Txn', request);
      for (const [place, append] of group.entries()) {
        append.resolve(this.#outcome(append, responses[place]));
      }
    } catch (error) {
      await this.#handle(group, error);
    }
  }

  #request({ shardId, index, term, value }: Append): RequestOp {
    const slot = this.#keys.entry(shardId, index);
    const leader = this.#keys.leader(shardId);
    return {
      requestTxn: {
        compare: [isCreatedAt(leader, term), isAbsent(slot)],
        success: [put(slot, value)],
        failure: [get(slot), { requestRange: { key: leader, keysOnly: true } }],
      },
    };
  }

  #outcome(append: Append, response: ResponseOp | undefined): AppendOutcome {
    const nested = response?.responseTxn;
    if (!nested) return { outcome: 'ambiguous', reason: 'etcd gave no answer to this append' };
    if (nested.succeeded) {
      this.#space.noteWritten(append.value.byteLength + OVERHEAD_BYTES);
      return { outcome: 'done' };
    }
    const [slot, leader] = nested.responses.map(foundBy);
    return outcomeBySlot(append, slot, leader) ?? fenced(append, 'and etcd refused the append');
  }

  async #handle(group: readonly Pending[], error: unknown): Promise<void> {
    const kind = kindOf(error);
    if (kind === 'noSpace') {
      await this.#resolveBySlots(group, reasonOf(error));
    } else if (kind === 'tooManyOperations' || kind === 'tooLarge') {
      await this.#split(group, error);
    } else {
      const outcome: AppendOutcome =
        kind === 'denied'
          ? { outcome: 'refused', error: accessDenied(error) }
          : kind === 'rejected'
            ? { outcome: 'refused', error: unavailable('etcd refuses the append', error) }
            : { outcome: 'ambiguous', reason: reasonOf(error) };
      for (const { resolve } of group) resolve(outcome);
    }
  }

  /** These members allow less in one request than the default: nothing of it was done. */
  async #split(group: readonly Pending[], error: unknown): Promise<void> {
    const [first] = group;
    if (group.length === 1 && first !== undefined) {
      const byteLength = first.value.byteLength + OVERHEAD_BYTES;
      first.resolve({ outcome: 'refused', error: refusedBySize(byteLength, error) });
      return;
    }
    const half = Math.ceil(group.length / 2);
    if (kindOf(error) === 'tooManyOperations') this.#appendsMax = half;
    await this.#send(group.slice(0, half));
    await this.#send(group.slice(half));
  }

  /**
   * A member that finds its quota used up while it carries out a transaction carries it out, and
   * says that there was no space: so the slots are looked at. What is not there now never will be.
   */
  async #resolveBySlots(group: readonly Pending[], found: string): Promise<void> {
    const refusal = this.#space.noteFull(found);
    const patience = { patienceMs: this.#client.requestTimeoutMs };
    try {
      const parts = { client: this.#client, keys: this.#keys };
      const revision = (await syncRevision(parts, patience)).toString();
      for (const append of group) {
        const key = this.#keys.entry(append.shardId, append.index);
        const { kvs } = await this.#client.persist('KV.Range', { key, revision }, patience);
        append.resolve(
          outcomeBySlot(append, kvs[0], 'unknown') ?? { outcome: 'refused', error: refusal },
        );
      }
    } catch (error) {
      const reason = `${found}; ${reasonOf(error)}`;
      for (const { resolve } of group) resolve({ outcome: 'ambiguous', reason });
    }
  }
}

/** Undefined where the slot is free and nobody else is known to lead. */
function outcomeBySlot(
  append: Append,
  slot: KeyValue | undefined,
  leader: KeyValue | 'unknown' | undefined,
): AppendOutcome | undefined {
  if (slot !== undefined) {
    if (append.value.equals(slot.value)) return { outcome: 'done' };
    return fenced(append, `entry ${append.index} is there already`);
  }
  if (leader === 'unknown') return undefined;
  if (leader === undefined) return fenced(append, 'nobody leads');
  if (leader.createRevision === append.term.toString()) return undefined;
  return fenced(append, `the leader is of term ${leader.createRevision}`);
}

function fenced({ shardId, term }: Append, found: string): AppendOutcome {
  return { outcome: 'fenced', reason: `shard ${shardId}, append of term ${term}: ${found}` };
}
