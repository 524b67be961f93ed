/**
 * The whole life of a node that begins in the clear: real data, a cutover under load on four
 * shards, restarts, rotations under load, kill -9, and what `verify` says about it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NodeStatus } from '../../src/admin/operations.ts';
import type { VerifyReport } from '../../src/verify/report.ts';
import { type CityRecord, cityRecords, differingKeys, loadRecords } from './cities.ts';
import { command, type NodeProcess, startNode, type Workspace, workspace } from './node-process.ts';
import { startWriters, type Writers } from './writers.ts';

const WRITERS = 10;
/** Acknowledged before, and again after, what is done under load. */
const WRITES_MIN = 500;
const STEP_TIMEOUT_MS = 120_000;

describe('a node that begins in the clear', { timeout: STEP_TIMEOUT_MS }, () => {
  let place: Workspace;
  let node: NodeProcess;
  let records: readonly CityRecord[];

  beforeAll(async () => {
    place = await workspace();
    records = cityRecords();
  });

  afterAll(async () => {
    await node?.kill();
    await place?.remove();
  });

  async function status(): Promise<NodeStatus> {
    return JSON.parse(await command(node, place, ['status', '--json']));
  }

  async function verify(): Promise<VerifyReport> {
    return JSON.parse(await command(node, place, ['verify', '--json']));
  }

  async function underLoad(prefix: string, act: () => Promise<void>): Promise<Writers> {
    const clients = Array.from({ length: WRITERS }, () => node.client());
    const writers = startWriters(clients, prefix);
    const acknowledged = async (count: number): Promise<void> => {
      while (writers.acknowledged < count && writers.failures.length === 0) await delay(5);
    };
    await acknowledged(WRITES_MIN);
    await act();
    await acknowledged(writers.acknowledged + WRITES_MIN);
    await writers.stop();
    return writers;
  }

  async function expectNothingLost(writers: Writers): Promise<void> {
    expect(writers.failures).toEqual([]);
    expect(await writers.lost(node.client())).toEqual([]);
  }

  it('takes a public data set of more than 100,000 records', async () => {
    node = await startNode(place, ['--encryption', 'off']);
    expect(records.length).toBeGreaterThan(100_000);
    await loadRecords(node.client(), records);
    expect(await node.client().dbsize()).toBe(records.length);
    const { encryption, shards } = await status();
    expect(encryption).toBe('off');
    expect(shards).toHaveLength(4);
  });

  it('invariant 2: has every record, byte for byte, after kill -9 and restart', async () => {
    await node.kill();
    node = await startNode(place, ['--encryption', 'off']);
    expect(await differingKeys(node.client(), records)).toEqual([]);
  });

  it('invariant 1: is cut over on all shards under load without a failed or lost write', async () => {
    let progress = '';
    const writers = await underLoad('cutover', async () => {
      progress = await command(node, place, ['encryption', 'enable']);
    });
    await expectNothingLost(writers);
    expect(progress.match(/sealed above index/g)).toHaveLength(4);
    const { encryption, shards, storage } = await status();
    expect({ encryption, storage }).toEqual({ encryption: 'sealed', storage: 'sealed' });
    for (const shard of shards) {
      expect(shard.cutoverGateMs).not.toBeNull();
      expect(shard.state).toBe('leading');
    }
    const report = await verify();
    expect(report.problems).toEqual([]);
    expect(report.logs.every(({ sealed }) => Object.keys(sealed).length === 1)).toBe(true);
    console.log(
      `cutover under load: ${writers.acknowledged} writes, longest ${writers.longestWriteMs.toFixed(1)} ms;\n${progress}`,
    );
  });

  it('asked again, answers that it is done', async () => {
    expect((await command(node, place, ['encryption', 'enable'])).match(/sealed/g)).toHaveLength(4);
  });

  it('reads everything back after a restart with encryption on', async () => {
    expect(await node.stop()).toBe(0);
    node = await startNode(place);
    expect(await differingKeys(node.client(), records)).toEqual([]);
    expect((await verify()).problems).toEqual([]);
  });

  it('rotates the raft and storage keys under load without a failed or lost write', async () => {
    const before = (await status()).keys.filter(({ active }) => active);
    const writers = await underLoad('rotation', async () => {
      await command(node, place, ['rotate-dek', '--purpose', 'raft']);
      await command(node, place, ['rotate-dek', '--purpose', 'storage']);
    });
    await expectNothingLost(writers);
    const after = (await status()).keys.filter(({ active }) => active);
    const idOf = (keys: typeof after, purpose: string): number | undefined =>
      keys.find((key) => key.purpose === purpose)?.dekId;
    for (const purpose of ['raft', 'storage']) {
      expect(idOf(after, purpose)).not.toBe(idOf(before, purpose));
    }
    const { shards } = await status();
    for (const shard of shards) expect(shard.raftDekId).toBe(idOf(after, 'raft'));
  });

  it('reads everything back after kill -9, and verify is clean and names what is in the clear', async () => {
    await node.kill();
    node = await startNode(place);
    expect(await differingKeys(node.client(), records)).toEqual([]);
    const report = await verify();
    expect(report.problems).toEqual([]);
    expect(report.clean).toBe(true);
    const rows = report.stores.reduce((sum, { cleartextRows }) => sum + cleartextRows, 0);
    expect(report.sealedThroughout).toBe(rows === 0 && report.cleartext.length === 0);
    expect(report.cleartext.filter((line) => /^store of shard .* rows$/.test(line))).toHaveLength(
      report.stores.filter(({ cleartextRows }) => cleartextRows > 0).length,
    );
  });
});
