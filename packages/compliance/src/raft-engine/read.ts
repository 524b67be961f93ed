/** Reads: bounded and following, ordered, without gap or repetition, ended by their signal. */
import assert from 'node:assert/strict';
import type { LogEntry, RaftEngine } from '@raftseal/interface';
import {
  appendDone,
  appendRange,
  assertEntries,
  followThrough,
  isPending,
  readAll,
  type Scenario,
} from './scenario.ts';

export function readScenarios(scenario: Scenario): void {
  scenario('a bounded read ends at the head', async (_, engine) => {
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 50n);
    assertEntries(await readAll(engine, 1n), 1n, 50n);
    assertEntries(await readAll(engine, 31n), 31n, 50n);
    assertEntries(await readAll(engine, 50n), 50n, 50n);
    assert.deepEqual(await readAll(engine, 51n), []);
    assert.deepEqual(await readAll(engine, 1000n), []);
  });

  scenario('a following read has no gap and no repetition while appends go on', async (_, e) => {
    const leadership = await e.elect();
    await appendRange(e, leadership, 1n, 10n);
    const early = followThrough(e, 1n, 300n);
    const middle = followThrough(e, 5n, 300n);
    const ahead = followThrough(e, 200n, 300n);
    await appendRange(e, leadership, 11n, 300n);
    assertEntries(await early, 1n, 300n);
    assertEntries(await middle, 5n, 300n);
    assertEntries(await ahead, 200n, 300n);
  });

  scenario('a following read waits at the tail for the next entry', async (_, engine) => {
    const leadership = await engine.elect();
    await appendDone(engine, leadership, 1n);
    const iterator = engine.read({ from: 1n, follow: true })[Symbol.asyncIterator]();
    assertEntries((await iterator.next()).value ?? [], 1n, 1n);
    const next = iterator.next();
    assert.equal(await isPending(next), true);
    await appendDone(engine, leadership, 2n);
    assertEntries((await next).value ?? [], 2n, 2n);
    await iterator.return?.();
  });

  scenario('a slow reader gets every entry', async (_, engine) => {
    const leadership = await engine.elect();
    const stop = new AbortController();
    const entries: LogEntry[] = [];
    const reading = (async () => {
      for await (const chunk of engine.read({ from: 1n, follow: true, signal: stop.signal })) {
        entries.push(...chunk);
        if (entries.length >= 200) stop.abort();
        for (let turn = 0; turn < 5; turn++) await new Promise((r) => setImmediate(r));
      }
    })();
    await appendRange(engine, leadership, 1n, 200n);
    await reading;
    assertEntries(entries, 1n, 200n);
  });

  scenario('an aborted signal ends a read without an error', async (_, engine) => {
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 3n);
    await assertEndsOnAbort(engine);
    const aborted = AbortSignal.abort();
    for await (const _chunk of engine.read({ from: 1n, follow: true, signal: aborted })) {
      assert.fail('a read whose signal was aborted before yields nothing');
    }
  });

  scenario('a read from an index below 1 is a RangeError', async (_, engine) => {
    await assert.rejects(readAll(engine, 0n), RangeError);
  });
}

async function assertEndsOnAbort(engine: RaftEngine): Promise<void> {
  const stop = new AbortController();
  const iterator = engine
    .read({ from: 4n, follow: true, signal: stop.signal })
    [Symbol.asyncIterator]();
  const waiting = iterator.next();
  assert.equal(await isPending(waiting), true);
  stop.abort(new Error('the reason is not thrown'));
  assert.equal((await waiting).done, true);
}
