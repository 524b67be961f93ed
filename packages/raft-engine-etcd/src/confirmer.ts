/**
 * Asks etcd whether claims still stand, for all shards that ask at one time: who leads is read at
 * the revision of a write that was sent after they asked.
 */
import { kindOf } from './call-error.ts';
import type { EtcdClient } from './client.ts';
import { raftsealErrorOf } from './errors.ts';
import type { Keys } from './keys.ts';
import { listRange } from './listing.ts';
import { syncRevision } from './log-bounds.ts';

interface Question {
  readonly shardId: number;
  readonly term: bigint;
  readonly resolve: (isLeader: boolean) => void;
  readonly reject: (error: unknown) => void;
}

export class Confirmer {
  readonly #client: EtcdClient;
  readonly #keys: Keys;
  #waiting: Question[] = [];
  #isRunning = false;

  constructor(client: EtcdClient, keys: Keys) {
    this.#client = client;
    this.#keys = keys;
  }

  /** @throws RAFTSEAL_ENGINE_UNAVAILABLE, RAFTSEAL_ENGINE_CLOSED */
  confirm(shardId: number, term: bigint): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ shardId, term, resolve, reject });
      if (!this.#isRunning) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#waiting.length > 0) {
      const questions = this.#waiting.splice(0);
      try {
        const terms = await this.#terms();
        for (const { shardId, term, resolve } of questions) {
          resolve(terms.get(`leaders/${shardId}`) === term.toString());
        }
      } catch (error) {
        const failure = raftsealErrorOf('cannot tell who leads', error);
        for (const { reject } of questions) reject(failure);
      }
    }
    this.#isRunning = false;
  }

  /** Create revision of each leader's key, by name. */
  async #terms(): Promise<Map<string, string>> {
    const patience = { patienceMs: this.#client.requestTimeoutMs };
    for (;;) {
      const parts = { client: this.#client, keys: this.#keys };
      const revision = await syncRevision(parts, patience);
      try {
        const range = this.#keys.under('leaders/');
        const options = { ...patience, revision, keysOnly: true };
        const { kvs } = await listRange(this.#client, range, options);
        return new Map(kvs.map((kv) => [this.#keys.nameOf(kv.key), kv.createRevision]));
      } catch (error) {
        if (kindOf(error) !== 'compacted') throw error;
      }
    }
  }
}
