/** Truncation, closing, and what a log still holds after it was opened again. */
import assert from 'node:assert/strict';
import {
  appendDone,
  appendRange,
  assertCode,
  assertEntries,
  assertFenced,
  isPending,
  payloadOf,
  type RaftEngineCapabilities,
  readAll,
  type Scenario,
} from './scenario.ts';

export function truncationScenarios(scenario: Scenario, exact: boolean): void {
  scenario('truncation drops only entries up to its index', async (_, engine) => {
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 30n);
    await engine.truncate(12n);
    const { firstIndex, headIndex } = await engine.bounds();
    assert.equal(headIndex, 30n);
    assert.ok(firstIndex >= 1n && firstIndex <= 13n);
    if (exact) assert.equal(firstIndex, 13n);
    assertEntries(await readAll(engine, firstIndex), firstIndex, 30n);
    if (firstIndex > 1n) {
      await assertCode(readAll(engine, firstIndex - 1n), 'RAFTSEAL_ENGINE_TRUNCATED');
      await assertCode(readAll(engine, 1n), 'RAFTSEAL_ENGINE_TRUNCATED');
    }
    await appendDone(engine, leadership, 31n);
  });

  scenario('truncation is idempotent and the first index never falls', async (_, engine) => {
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 10n);
    await engine.truncate(7n);
    const before = await engine.bounds();
    for (const through of [7n, 3n, 0n]) {
      await engine.truncate(through);
      assert.deepEqual(await engine.bounds(), before);
    }
  });

  scenario('truncation above the head is a RangeError and drops nothing', async (_, engine) => {
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 5n);
    await assert.rejects(engine.truncate(6n), RangeError);
    assertEntries(await readAll(engine, 1n), 1n, 5n);
  });

  scenario('a log truncated up to its head keeps the head', async (_, engine) => {
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 5n);
    await engine.truncate(5n);
    assert.equal((await engine.bounds()).headIndex, 5n);
    assertFenced(await engine.append({ term: leadership.term, index: 1n, payload: payloadOf(1n) }));
    await appendDone(engine, leadership, 6n);
    assertEntries(await readAll(engine, 6n), 6n, 6n);
  });

  scenario('a following read overtaken by truncation is told so', async (_, engine) => {
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 5n);
    await engine.truncate(5n);
    const { firstIndex } = await engine.bounds();
    if (firstIndex === 1n) return;
    const reading = engine.read({ from: firstIndex - 1n, follow: true });
    await assertCode(reading[Symbol.asyncIterator]().next(), 'RAFTSEAL_ENGINE_TRUNCATED');
  });
}

export function closeScenarios(scenario: Scenario): void {
  scenario('closing is idempotent and everything after it is refused', async (_, engine) => {
    const leadership = await engine.elect();
    await appendDone(engine, leadership, 1n);
    await Promise.all([engine.close(), engine.close()]);
    await engine.close();
    const code = 'RAFTSEAL_ENGINE_CLOSED';
    const request = { term: leadership.term, index: 2n, payload: payloadOf(2n) };
    await assertCode(engine.append(request), code);
    await assertCode(engine.elect(), code);
    await assertCode(engine.bounds(), code);
    await assertCode(engine.truncate(1n), code);
    await assertCode(engine.members(), code);
    await assertCode(readAll(engine, 1n), code);
    await leadership.resign();
  });

  scenario('closing resigns, and ends a waiting read without an error', async (_, engine) => {
    const leadership = await engine.elect();
    const waiting = engine.read({ from: 1n, follow: true })[Symbol.asyncIterator]().next();
    assert.equal(await isPending(waiting), true);
    const closed = engine.close();
    assert.equal(leadership.signal.aborted, true, 'aborted synchronously');
    await closed;
    assert.equal((await waiting).done, true);
  });

  scenario('an append under way when the engine closes still ends', async (_, engine) => {
    const { term } = await engine.elect();
    const append = engine.append({ term, index: 1n, payload: payloadOf(1n) });
    const closed = engine.close();
    await append.then(
      (outcome) => assert.notEqual(outcome.outcome, undefined),
      (error: { code?: unknown }) => assert.equal(error.code, 'RAFTSEAL_ENGINE_CLOSED'),
    );
    await closed;
  });
}

export function reopenScenarios(scenario: Scenario, capabilities: RaftEngineCapabilities): void {
  scenario('invariant 2: reopening keeps every acknowledged entry', async (fixture, engine) => {
    const { reopen } = fixture;
    assert.ok(reopen !== undefined, 'a declared capability is supplied by the fixture');
    const before = await engine.elect();
    await appendRange(engine, before, 1n, 25n);
    await engine.truncate(10n);
    const bounds = await engine.bounds();
    const again = await reopen();
    try {
      const { firstIndex, headIndex } = await again.bounds();
      assert.equal(headIndex, 25n);
      assert.ok(firstIndex >= bounds.firstIndex, 'the first index never falls');
      if (capabilities.truncation === 'exact') assert.equal(firstIndex, 11n);
      const entries = await readAll(again, firstIndex);
      assertEntries(entries, firstIndex, 25n);
      for (const entry of entries) assert.equal(entry.term, before.term);
      const after = await again.elect();
      assert.ok(after.term > before.term, 'a higher term');
      assert.equal(after.headIndex, 25n);
      assertFenced(await again.append({ term: before.term, index: 26n, payload: payloadOf(26n) }));
      await appendRange(again, after, 26n, 30n);
      assertEntries(await readAll(again, firstIndex), firstIndex, 30n);
    } finally {
      await again.close();
    }
  });
}
