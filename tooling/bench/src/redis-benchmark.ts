/** One run of redis-benchmark, which is Redis' own load generator. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

export interface Load {
  readonly port: number;
  readonly command: 'set' | 'get';
  readonly requests: number;
  /** Commands per round trip. */
  readonly pipeline: number;
}

export interface LoadResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export const CLIENTS = 50;
export const KEYS = 100_000;
export const VALUE_BYTES = 256;
const TIMEOUT_MS = 300_000;

export async function redisBenchmark(load: Load): Promise<LoadResult> {
  const { stdout } = await promisify(execFile)(
    'redis-benchmark',
    Object.entries({
      p: load.port,
      t: load.command,
      n: load.requests,
      c: CLIENTS,
      P: load.pipeline,
      d: VALUE_BYTES,
      r: KEYS,
    })
      .flatMap(([flag, value]) => [`-${flag}`, `${value}`])
      .concat('--csv'),
    { timeout: TIMEOUT_MS },
  );
  // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95...","p99...","max..."
  const row = stdout.trim().split('\n').at(-1) ?? '';
  const cells = row.split(',').map((cell) => Number(cell.replaceAll('"', '')));
  const [, perSecond = Number.NaN, , , p50Ms = Number.NaN, , p99Ms = Number.NaN] = cells;
  if (!(perSecond > 0)) throw new Error(`redis-benchmark gave no figures: ${stdout}`);
  return { perSecond, p50Ms, p99Ms };
}
