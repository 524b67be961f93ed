/**
 * Keys that are written once and then left alone, so that nothing but the rewriting of rows brings
 * them under another DEK. Each holds a text that must be in no file.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ClusterClient, type ClusterClientOptions } from '../history/cluster-client.ts';

/** What is looked for: in every key, and in every value. */
export const CLEARTEXT_MARK = 'to-be-read-nowhere';

const KEYS = 1_000;
const VALUE_BYTES = 200;
const CLIENTS = 8;
const PATIENCE_MS = 60_000;
const REFUSED_PAUSE_MS = 60;

export class Ballast {
  readonly #options: ClusterClientOptions;

  constructor(options: ClusterClientOptions) {
    this.#options = options;
  }

  /** Again where the answer is unknown: nothing else writes these keys. */
  async write(): Promise<void> {
    await this.#each(async (client, n) => {
      const outcome = await client.perform([['SET', keyOf(n), contentOf(n)]]);
      return outcome.outcome === 'done';
    });
  }

  /** @returns the keys that do not hold what was written */
  async lost(): Promise<readonly string[]> {
    const lost: string[] = [];
    await this.#each(async (client, n) => {
      const outcome = await client.perform([['GET', keyOf(n)]]);
      if (outcome.outcome !== 'done') return false;
      if (outcome.replies[0] !== contentOf(n)) lost.push(keyOf(n));
      return true;
    });
    return lost;
  }

  async #each(act: (client: ClusterClient, n: number) => Promise<boolean>): Promise<void> {
    const left = Array.from({ length: KEYS }, (_, n) => n);
    const clients = Array.from({ length: CLIENTS }, () => new ClusterClient(this.#options));
    try {
      await Promise.all(
        clients.map(async (client) => {
          await client.ready();
          for (let n = left.pop(); n !== undefined; n = left.pop()) await persist(act, client, n);
        }),
      );
    } finally {
      for (const client of clients) client.close();
    }
  }
}

async function persist(
  act: (client: ClusterClient, n: number) => Promise<boolean>,
  client: ClusterClient,
  n: number,
): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (!(await act(client, n))) {
    if (performance.now() > deadlineMs) throw new Error(`${keyOf(n)} could not be written or read`);
    await delay(REFUSED_PAUSE_MS);
  }
}

function keyOf(n: number): string {
  return `${CLEARTEXT_MARK}:key:${n}`;
}

function contentOf(n: number): string {
  return `${CLEARTEXT_MARK}:value:${n}:`.padEnd(VALUE_BYTES, '.');
}
