/** What must be true of keys once a run is over: in the logs, and in every file of every node. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { base64, callEtcd, type EtcdGateway, type KeyValue } from '../checks/etcd-gateway.ts';
import { logPlaceOf, readEntry, readSeal } from '../checks/log-entry.ts';
import type { SealLedger } from '../checks/seal-ledger.ts';
import { walkStores } from '../checks/store-walk.ts';
import type { World } from '../world/world.ts';
import { CLEARTEXT_MARK } from './ballast.ts';
import type { WrapMemory } from './wrap-memory.ts';

const PAGE = 500;
const PAGE_TIMEOUT_MS = 10_000;

/** The entries that the logs in etcd hold now: none is sealed under a retired DEK. */
export async function checkLogsInEtcd(
  world: World,
  retired: ReadonlySet<number>,
): Promise<readonly string[]> {
  const problems: string[] = [];
  for await (const { key, value = '' } of everyLogKey(world.etcd, world.etcdPrefix)) {
    const place = logPlaceOf(Buffer.from(key, 'base64').toString(), world.etcdPrefix);
    if (place === undefined) continue;
    const { isSealed, body } = readEntry(place, Buffer.from(value, 'base64'));
    const dekId = isSealed ? readSeal(body).dekId : 0;
    if (!retired.has(dekId)) continue;
    const { shardId, index } = place;
    problems.push(`entry ${index} of shard ${shardId} is sealed under retired DEK ${dekId}`);
  }
  return problems;
}

async function* everyLogKey(gateway: EtcdGateway, prefix: string): AsyncGenerator<KeyValue> {
  const end = base64(`${prefix}/logs0`);
  for (let from = base64(`${prefix}/logs/`); ; ) {
    const body = { key: from, range_end: end, limit: PAGE };
    const answer = (await callEtcd(gateway, 'kv/range', body, PAGE_TIMEOUT_MS)) as {
      readonly kvs?: readonly KeyValue[];
    };
    const kvs = answer.kvs ?? [];
    yield* kvs;
    const last = kvs.at(-1);
    if (last === undefined || kvs.length < PAGE) return;
    from = Buffer.concat([Buffer.from(last.key, 'base64'), Buffer.alloc(1)]).toString('base64');
  }
}

export interface StoppedChecks {
  readonly world: World;
  readonly shardCount: number;
  readonly ledger: SealLedger;
  readonly retired: ReadonlySet<number>;
  readonly wraps: WrapMemory;
}

/** Of the data directories, once the nodes have stopped. */
export async function checkStoppedKeys(checks: StoppedChecks): Promise<readonly string[]> {
  const { world, shardCount, ledger, retired } = checks;
  const problems: string[] = [];
  for (const { process, dataPath } of world.nodes) {
    const { name } = process;
    const walk = await walkStores({ nodeName: name, dataPath, shardCount, ledger });
    for (const dekId of walk.dekIds) {
      if (retired.has(dekId)) problems.push(`${name} has rows under retired DEK ${dekId}`);
    }
    if (walk.cleartextRows > 0)
      problems.push(`${name} has ${walk.cleartextRows} rows in the clear`);
    problems.push(...(await checkFiles(dataPath, checks)));
  }
  for (const path of await filesWith(world.directory, [Buffer.from(CLEARTEXT_MARK)])) {
    problems.push(`invariant 10: ${path} holds what clients wrote, in the clear`);
  }
  return problems;
}

async function checkFiles(
  dataPath: string,
  { retired, wraps }: StoppedChecks,
): Promise<readonly string[]> {
  const problems: string[] = [];
  for (const dekId of retired) {
    const pieces = wraps.wrapsOf(dekId);
    if (pieces.length === 0) problems.push(`no wrap of DEK ${dekId} was ever seen`);
    for (const path of await filesWith(dataPath, pieces)) {
      problems.push(`${path} holds a wrap of retired DEK ${dekId}`);
    }
  }
  return problems;
}

/** Paths of the files that hold one of the pieces anywhere. */
async function filesWith(directory: string, pieces: readonly Buffer[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path);
    if (pieces.some((piece) => bytes.includes(piece))) found.push(path);
  }
  return found;
}
