import type { AppendOutcome, Leadership, RaftEngine } from '@raftseal/interface';
import { expect, it } from 'vitest';
import type { EtcdEventKind } from '../src/index.ts';
import { useEtcd } from './cluster.ts';
import { appendOne, appendRange, code, readAll, until } from './samples.ts';

const QUOTA_BYTES = 64 * 1024 * 1024;
const ENTRY_BYTES = 128 * 1024;
const cluster = useEtcd({ extraFlags: [`--quota-backend-bytes=${QUOTA_BYTES}`] });
const refusal = { outcome: 'refused', error: code('RAFTSEAL_ENGINE_NO_SPACE') };

it('appends are refused before etcd is full, and taken again once there is room', async () => {
  const kinds: EtcdEventKind[] = [];
  const log = await cluster.open({
    spaceBytesMax: QUOTA_BYTES,
    compactAfterMs: 0,
    onEvent: ({ kind }) => kinds.push(kind),
  });
  await until(() => log.status().dbBytes > 0);
  const engine = log.engine(7);
  const leadership = await engine.elect();
  const { index, outcome } = await fill(engine, leadership);
  expect(outcome).toEqual(refusal);
  expect(index).toBeGreaterThan(200n);
  expect(log.status().isLow).toBe(true);
  expect(await cluster.etcd.etcdctl('alarm', 'list')).toBe('');
  expect(leadership.isCurrent()).toBe(true);
  await engine.truncate(index / 2n);
  await until(async () => {
    await log.compact();
    return !log.status().isLow;
  });
  await appendRange(engine, leadership, index + 1n, index + 3n, ENTRY_BYTES);
  expect(kinds).toEqual(expect.arrayContaining(['space-low', 'space-found']));
  await engine.truncate(index + 3n);
  await until(async () => {
    await log.compact();
    await log.defragment();
    return log.status().dbBytes < QUOTA_BYTES / 8;
  });
});

it('a full etcd refuses appends for certain, and nothing else comes to harm', async () => {
  const log = await cluster.open({ compactAfterMs: 0 });
  const engine = log.engine(7);
  const leadership = await engine.elect();
  // Of these, etcd keeps the history until it is compacted.
  await appendRange(engine, leadership, 1n, 100n, ENTRY_BYTES);
  await engine.truncate(100n);
  const { index, outcome } = await fill(engine, leadership, 100n);
  expect(outcome).toEqual(refusal);
  expect(await cluster.etcd.etcdctl('alarm', 'list')).toContain('NOSPACE');
  await expect(cluster.open({ nodeId: 'b' })).rejects.toEqual(code('RAFTSEAL_ENGINE_NO_SPACE'));
  const document = [{ put: 'name', value: Buffer.of(1) }];
  await expect(log.documents.write(document)).rejects.toEqual(code('RAFTSEAL_ENGINE_NO_SPACE'));
  expect(await readAll(engine, 101n)).toHaveLength(Number(index) - 100);
  expect(await engine.bounds()).toEqual({ firstIndex: 101n, headIndex: index });
  expect(await leadership.confirm()).toBe(true);
  expect(leadership.isCurrent()).toBe(true);
  expect(await appendOne(engine, leadership, index + 1n, ENTRY_BYTES)).toEqual(refusal);

  // Room is made by compacting what was truncated before, and by nothing else.
  await until(async () => {
    await log.compact();
    await log.defragment();
    return engine.truncate(index - 1n).then(
      () => true,
      () => false,
    );
  });
  await until(async () => {
    await log.compact();
    await log.defragment();
    return log.status().dbBytes < QUOTA_BYTES / 2;
  });
  expect(log.status().isLow).toBe(false);
  await appendRange(engine, leadership, index + 1n, index + 3n, ENTRY_BYTES);
});

/** Appends until one is not done. */
async function fill(
  engine: RaftEngine,
  leadership: Leadership,
  head = 0n,
): Promise<{ index: bigint; outcome: AppendOutcome }> {
  for (let index = head; ; index++) {
    const outcome = await appendOne(engine, leadership, index + 1n, ENTRY_BYTES);
    if (outcome.outcome !== 'done') return { index, outcome };
  }
}
