/** Fills a node with keys, over one connection, many commands at a time. */
import { Redis } from 'ioredis';
import { VALUE_BYTES } from './redis-benchmark.ts';

export interface KeyLoad {
  /** Of a node that leads every shard. */
  readonly port: number;
  readonly keys: number;
  /** What the keys begin with; default `key:`. */
  readonly prefix?: string;
}

const PIPELINE = 500;

/** @throws where one of the commands is not answered with OK */
export async function loadKeys({ port, keys, prefix = 'key:' }: KeyLoad): Promise<void> {
  const client = new Redis(port, '127.0.0.1');
  const value = 'x'.repeat(VALUE_BYTES);
  try {
    for (let first = 0; first < keys; first += PIPELINE) {
      const pipeline = client.pipeline();
      for (let i = first; i < Math.min(first + PIPELINE, keys); i++) {
        pipeline.set(`${prefix}${i.toString().padStart(12, '0')}`, value);
      }
      const replies = (await pipeline.exec()) ?? [];
      const failure = replies.find(([error]) => error !== null)?.[0];
      if (failure) throw failure;
    }
  } finally {
    client.disconnect();
  }
}
