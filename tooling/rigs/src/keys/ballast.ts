/**
 * Keys that nobody else writes, and that are left alone for long, so that nothing but the rewriting
 * of rows brings them under another DEK. Each holds a text that must be in no file.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ClusterClient, type ClusterClientOptions } from '../history/cluster-client.ts';

/** What is looked for: in every key, and in every value. */
export const CLEARTEXT_MARK = 'to-be-read-nowhere';

const VALUE_BYTES = 200;
const CLIENTS = 8;
const PATIENCE_MS = 60_000;
const REFUSED_PAUSE_MS = 60;

export interface BallastShape {
  /** Part of the names of its keys. */
  readonly name: string;
  readonly keys: number;
}

export class Ballast {
  readonly #options: ClusterClientOptions;
  readonly #shape: BallastShape;

  constructor(options: ClusterClientOptions, shape: BallastShape) {
    this.#options = options;
    this.#shape = shape;
  }

  /**
   * Again where the answer is unknown: nothing else writes these keys.
   * @param version of the values; another one after each writing
   */
  async write(version = 1): Promise<void> {
    await this.#each(async (client, n) => {
      const outcome = await client.perform([['SET', this.#key(n), this.#content(n, version)]]);
      return outcome.outcome === 'done';
    });
  }

  /** @returns the keys that do not hold what was written */
  async lost(): Promise<readonly string[]> {
    const lost: string[] = [];
    await this.#each(async (client, n) => {
      const outcome = await client.perform([['GET', this.#key(n)]]);
      if (outcome.outcome !== 'done') return false;
      if (outcome.replies[0] !== this.#content(n, 1)) lost.push(this.#key(n));
      return true;
    });
    return lost;
  }

  /** Every key with what it holds. */
  entries(version = 1): readonly (readonly [key: string, value: string])[] {
    const { keys } = this.#shape;
    return Array.from({ length: keys }, (_, n) => [this.#key(n), this.#content(n, version)]);
  }

  #key(n: number): string {
    return `${CLEARTEXT_MARK}:${this.#shape.name}:${n}`;
  }

  #content(n: number, version: number): string {
    return `${CLEARTEXT_MARK}:value:${n}:${version}:`.padEnd(VALUE_BYTES, '.');
  }

  async #each(act: (client: ClusterClient, n: number) => Promise<boolean>): Promise<void> {
    const left = Array.from({ length: this.#shape.keys }, (_, n) => n);
    const clients = Array.from({ length: CLIENTS }, () => new ClusterClient(this.#options));
    try {
      await Promise.all(
        clients.map(async (client) => {
          await client.ready();
          for (let n = left.pop(); n !== undefined; n = left.pop()) {
            const own = n;
            await persist(this.#key(own), () => act(client, own));
          }
        }),
      );
    } finally {
      for (const client of clients) client.close();
    }
  }
}

async function persist(key: string, act: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (!(await act())) {
    if (performance.now() > deadlineMs) throw new Error(`${key} could not be written or read`);
    await delay(REFUSED_PAUSE_MS);
  }
}
