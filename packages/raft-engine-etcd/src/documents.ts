/**
 * Documents of the application beside the logs: small values under names, changed together under
 * conditions. `leaders/` and `nodes/` can be read as documents too.
 */
import { randomBytes } from 'node:crypto';
import { kindOf } from './call-error.ts';
import type { EtcdClient } from './client.ts';
import { closedError, raftsealErrorOf, refusedBySize, unavailable } from './errors.ts';
import { checkDocumentName, type Keys } from './keys.ts';
import { listRange } from './listing.ts';
import type { Compare, KeyValue, RequestOp, TxnRequest } from './messages.ts';
import { checkShardId } from './options.ts';
import { PrefixView } from './prefix-view.ts';
import type { Session } from './session.ts';
import { foundBy, get, isAbsent, isChangedAt, isCreatedAt, put, remove } from './transaction.ts';
import type { WatchHub } from './watch-hub.ts';

export interface Document {
  readonly name: string;
  readonly value: Uint8Array;
  /** Rises with each change of the document. */
  readonly revision: bigint;
  /** Of the change that made it; of a leader's document, its term. */
  readonly createRevision: bigint;
}

export type Condition =
  /** There is no document of this name. */
  | { readonly absent: string }
  /** The document is there and has not changed since. */
  | { readonly name: string; readonly revision: bigint }
  /** The shard's leader is of this term. */
  | { readonly leads: number; readonly term: bigint };

export type Change =
  | {
      readonly put: string;
      readonly value: Uint8Array;
      /** The document goes when this node's session ends. */
      readonly whileAlive?: boolean;
    }
  | { readonly remove: string };

export interface EtcdDocuments {
  /** May lag behind a write of another node; a condition on the revision does not. */
  get(name: string): Promise<Document | undefined>;
  /** All whose names begin so, in the order of their names. */
  list(under: string): Promise<Document[]>;
  /**
   * Makes all changes at once, or none: false where a condition does not hold.
   * @throws RAFTSEAL_ENGINE_UNAVAILABLE where it is not known whether they were made;
   *   RAFTSEAL_ENGINE_NO_SPACE, RAFTSEAL_ENGINE_ACCESS_DENIED, RAFTSEAL_ENGINE_DISPLACED,
   *   RAFTSEAL_ENGINE_PAYLOAD_TOO_LARGE, RAFTSEAL_ENGINE_CLOSED; RangeError for more than 50
   *   changes and conditions; TypeError for a name that the log keeps for itself.
   */
  write(changes: readonly Change[], conditions?: readonly Condition[]): Promise<boolean>;
  /**
   * All documents whose names begin so, by name: as they are, and again after each change. Changes
   * that follow one another fast may come as one. Ends when the signal aborts or the log is closed.
   */
  watch(
    under: string,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<ReadonlyMap<string, Document>>;
}

export interface DocumentsParts {
  readonly client: EtcdClient;
  readonly hub: WatchHub;
  readonly keys: Keys;
  readonly session: Session;
  readonly nodeId: string;
}

const OPERATIONS_MAX = 50;
const BYTES_MAX = 1_400_000;
const LIST_EVERY_MS = 10_000;
/** How many times longer than one request an answer is waited for. */
const PATIENCE_REQUESTS = 3;

export class Documents implements EtcdDocuments {
  readonly #parts: DocumentsParts;
  /** Writes of this process go one after the other. */
  #lastWrite: Promise<unknown> = Promise.resolve();
  /** Of the last write, as far as is known. */
  #lastRevision = 0n;

  constructor(parts: DocumentsParts) {
    this.#parts = parts;
  }

  async get(name: string): Promise<Document | undefined> {
    const { client, keys } = this.#parts;
    const kv = await this.#reading(async (options) => {
      const { kvs } = await client.persist('KV.Range', { key: keys.document(name) }, options);
      return kvs[0];
    });
    return kv && documentOf(keys, kv);
  }

  async list(under: string): Promise<Document[]> {
    const { client, keys } = this.#parts;
    const { kvs } = await this.#reading((options) => listRange(client, keys.under(under), options));
    return kvs.map((kv) => documentOf(keys, kv));
  }

  async write(changes: readonly Change[], conditions: readonly Condition[] = []): Promise<boolean> {
    if (changes.length + conditions.length > OPERATIONS_MAX) {
      throw new RangeError(`a write has ${OPERATIONS_MAX} changes and conditions at most`);
    }
    const compare = conditions.map((condition) => this.#compare(condition));
    const request = (): TxnRequest => ({ compare, success: changes.map((each) => this.#op(each)) });
    checkSize(request());
    const written = this.#lastWrite.then(() => this.#write(request()));
    this.#lastWrite = written.catch(() => {});
    return written;
  }

  async *watch(
    under: string,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<ReadonlyMap<string, Document>, void, void> {
    const { client, keys } = this.#parts;
    if (client.closing.aborted) throw closedError();
    const ended = new AbortController();
    const end = (): void => ended.abort();
    if (signal.aborted) return;
    signal.addEventListener('abort', end);
    const options = { under, listEveryMs: LIST_EVERY_MS, signal: ended.signal };
    const view = new PrefixView(this.#parts, options);
    try {
      let shown = 0;
      while (!ended.signal.aborted && !client.closing.aborted) {
        if (view.changes === shown) {
          await view.changed.next(Number.POSITIVE_INFINITY, ended.signal, client.closing);
          continue;
        }
        shown = view.changes;
        const documents = [...view.states].map(
          ([name, kv]) => [name, documentOf(keys, kv)] as const,
        );
        yield new Map(documents);
      }
    } finally {
      signal.removeEventListener('abort', end);
      ended.abort();
    }
  }

  async #reading<T>(read: (options: { patienceMs: number }) => Promise<T>): Promise<T> {
    const patienceMs = PATIENCE_REQUESTS * this.#parts.client.requestTimeoutMs;
    try {
      return await read({ patienceMs });
    } catch (error) {
      throw raftsealErrorOf('documents cannot be read', error);
    }
  }

  /**
   * A write that is not answered is made again. Each follows on the one before it: one that comes
   * to be late, after a later one, has no effect, and one that was made is told by its token.
   */
  async #write(request: TxnRequest): Promise<boolean> {
    const { client, keys, nodeId } = this.#parts;
    const key = keys.writes(nodeId);
    const token = randomBytes(16);
    const patienceMs = PATIENCE_REQUESTS * client.requestTimeoutMs;
    const success = [...request.success, put(key, token)];
    try {
      for (;;) {
        const before = this.#lastRevision;
        const follows = before === 0n ? isAbsent(key) : isChangedAt(key, before);
        const compare = [...(request.compare ?? []), follows];
        const chained = { compare, success, failure: [get(key)] };
        const answer = await client.persist('KV.Txn', chained, { patienceMs });
        const found = answer.succeeded ? undefined : foundBy(answer.responses[0]);
        const { revision } = answer.header;
        this.#lastRevision = BigInt(answer.succeeded ? revision : (found?.modRevision ?? 0));
        if (answer.succeeded || found?.value.equals(token) === true) return true;
        if (this.#lastRevision === before) return false;
      }
    } catch (error) {
      const what =
        kindOf(error) === 'leaseNotFound'
          ? 'documents were not written: the session is being renewed'
          : 'documents may have been written, and may still come to be';
      throw raftsealErrorOf(what, error);
    }
  }

  #compare(condition: Condition): Compare {
    const { keys } = this.#parts;
    if ('absent' in condition) return isAbsent(keys.document(condition.absent));
    if ('leads' in condition) {
      checkShardId(condition.leads);
      return isCreatedAt(keys.leader(condition.leads), condition.term);
    }
    return isChangedAt(keys.document(condition.name), condition.revision);
  }

  #op(change: Change): RequestOp {
    const { keys, session } = this.#parts;
    const name = 'put' in change ? change.put : change.remove;
    checkDocumentName(name);
    if (!('put' in change)) return remove(keys.document(name));
    if (change.whileAlive !== true) return put(keys.document(name), change.value);
    if (session.displaced !== undefined) throw session.displaced;
    const lease = session.lease?.id;
    if (lease === undefined) {
      throw unavailable(`document ${name} was not written`, 'the session is being renewed');
    }
    return put(keys.document(name), change.value, lease);
  }
}

function checkSize(request: TxnRequest): void {
  let byteLength = 0;
  for (const op of request.success) {
    if ('requestPut' in op)
      byteLength += op.requestPut.key.byteLength + op.requestPut.value.byteLength;
  }
  if (byteLength > BYTES_MAX) throw refusedBySize(byteLength, 'more than 1.4 MB of documents');
}

export function documentOf(keys: Keys, kv: KeyValue): Document {
  return {
    name: keys.nameOf(kv.key),
    value: kv.value,
    revision: BigInt(kv.modRevision),
    createRevision: BigInt(kv.createRevision),
  };
}
