/** Clients that write without a pause and remember what was acknowledged. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';

/** A connection to one node, or a client of a cluster. */
export type WritingClient = Pick<Redis, 'get' | 'set'>;

export interface Writers {
  /** Acknowledged so far. */
  readonly acknowledged: number;
  /** Ends the writing; resolves once the last write was answered. */
  stop(): Promise<void>;
  /** Writes that were answered with an error. */
  readonly failures: readonly string[];
  /** The longest time between a write and its answer, in ms. */
  readonly longestWriteMs: number;
  /** Keys whose value is neither the last acknowledged one nor a later one that was sent. */
  lost(client: WritingClient): Promise<readonly string[]>;
}

const KEYS_PER_WRITER = 50;

/** Each writer counts upwards over keys of its own, on a connection of its own. */
export function startWriters(clients: readonly WritingClient[], prefix: string): Writers {
  const acknowledged = new Map<string, number>();
  const sent = new Map<string, number>();
  const failures: string[] = [];
  const state = { stopping: false, count: 0, longestWriteMs: 0 };
  const write = async (client: WritingClient, writer: number): Promise<void> => {
    for (let n = 1; !state.stopping; n++) {
      const key = `${prefix}:${writer}:${n % KEYS_PER_WRITER}`;
      sent.set(key, n);
      const startMs = performance.now();
      try {
        await client.set(key, `${n}`);
        acknowledged.set(key, n);
        state.count++;
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
        await delay(10);
      }
      state.longestWriteMs = Math.max(state.longestWriteMs, performance.now() - startMs);
    }
  };
  const running = Promise.all(clients.map(write));
  return {
    get acknowledged() {
      return state.count;
    },
    get longestWriteMs() {
      return state.longestWriteMs;
    },
    failures,
    stop: async () => {
      state.stopping = true;
      await running;
    },
    lost: async (client) => {
      const lost: string[] = [];
      for (const [key, atLeast] of acknowledged) {
        const found = Number(await client.get(key));
        if (!(found >= atLeast && found <= (sent.get(key) ?? 0))) lost.push(key);
      }
      return lost;
    },
  };
}
