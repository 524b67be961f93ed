import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Serving, serve } from './serving.ts';

let serving: Serving;
let redis: Redis;

beforeEach(async () => {
  serving = await serve({ password: 'secret' });
  redis = new Redis({ port: serving.port, host: '127.0.0.1', password: 'secret' });
});

afterEach(() => redis.disconnect());

describe('ioredis', () => {
  it('connects, authenticates, and finds the server ready', async () => {
    expect(await redis.ping()).toBe('PONG');
    expect(await redis.client('INFO')).toContain('user=default');
  });

  it('stores and reads any bytes', async () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await redis.set('a', bytes);
    expect(await redis.getBuffer('a')).toEqual(bytes);
    expect(await redis.get('missing')).toBeNull();
  });

  it('pipelines', async () => {
    const pipeline = redis.pipeline();
    for (let i = 0; i < 1000; i++) pipeline.incr('n').get('n');
    const results = await pipeline.exec();
    expect(results?.map(([, result]) => Number(result))).toEqual(
      Array.from({ length: 2000 }, (_, i) => Math.floor(i / 2) + 1),
    );
  });

  it('runs transactions and learns that a watched key was changed', async () => {
    expect(await redis.multi().set('a', '1').get('a').exec()).toEqual([
      [null, 'OK'],
      [null, '1'],
    ]);
    await redis.watch('a');
    const other = redis.duplicate();
    await other.set('a', '2');
    other.disconnect();
    expect(await redis.multi().set('a', '3').exec()).toBeNull();
    expect(await redis.get('a')).toBe('2');
  });

  it('scans as a stream', async () => {
    const keys = Array.from({ length: 30 }, (_, i) => `key:${i}`);
    await Promise.all(keys.map((key) => redis.set(key, '1')));
    const found: string[] = [];
    for await (const page of redis.scanStream({ count: 7 })) found.push(...(page as string[]));
    expect(found.sort()).toEqual(keys.sort());
  });

  it('gets errors as errors', async () => {
    await expect(redis.call('NOSUCH')).rejects.toThrow("ERR unknown command 'NOSUCH'");
  });
});
