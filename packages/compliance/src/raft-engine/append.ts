/** Appends: dense indexes, both fences, order of what is in flight, limits, bytes kept as given. */
import assert from 'node:assert/strict';
import {
  appendDone,
  appendRange,
  assertBytes,
  assertCode,
  assertEntries,
  assertFenced,
  payloadOf,
  readAll,
  type Scenario,
} from './scenario.ts';

/** Longest payload that the suite really writes, where the engine's limit is higher. */
const WRITTEN_PAYLOAD_BYTES_MAX = 2 * 1024 * 1024;

export function appendScenarios(scenario: Scenario): void {
  scenario('a new log has head 0 and first index 1', async (_, engine) => {
    assert.deepEqual(await engine.bounds(), { firstIndex: 1n, headIndex: 0n });
    assert.deepEqual(await readAll(engine, 1n), []);
  });

  scenario('indexes are dense from 1 and the head follows every append', async (_, engine) => {
    const leadership = await engine.elect();
    for (let index = 1n; index <= 20n; index++) {
      await appendDone(engine, leadership, index);
      assert.deepEqual(await engine.bounds(), { firstIndex: 1n, headIndex: index });
    }
    const entries = await readAll(engine, 1n);
    assertEntries(entries, 1n, 20n);
    for (const entry of entries) assert.equal(entry.term, leadership.term);
  });

  scenario('an append at another index than head + 1 is fenced', async (_, engine) => {
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 3n);
    for (const index of [1n, 3n, 5n, 2n ** 40n]) {
      const payload = payloadOf(99n);
      assertFenced(await engine.append({ term: leadership.term, index, payload }));
    }
    assertEntries(await readAll(engine, 1n), 1n, 3n);
    await appendDone(engine, leadership, 4n);
    assertEntries(await readAll(engine, 1n), 1n, 4n);
  });

  scenario('an append under another term is fenced', async (_, engine) => {
    const leadership = await engine.elect();
    await appendDone(engine, leadership, 1n);
    for (const term of [leadership.term - 1n, leadership.term + 1n]) {
      assertFenced(await engine.append({ term, index: 2n, payload: payloadOf(2n) }));
    }
    assertEntries(await readAll(engine, 1n), 1n, 1n);
    await appendDone(engine, leadership, 2n);
  });

  scenario('an append before the first election is fenced', async (_, engine) => {
    for (const term of [0n, 1n]) {
      assertFenced(await engine.append({ term, index: 1n, payload: payloadOf(1n) }));
    }
    assert.deepEqual(await engine.bounds(), { firstIndex: 1n, headIndex: 0n });
  });

  inFlightScenarios(scenario);
  payloadScenarios(scenario);
}

function inFlightScenarios(scenario: Scenario): void {
  scenario('appends in flight up to the limit are acknowledged in order', async (_, engine) => {
    const { term } = await engine.elect();
    const width = Math.min(engine.limits.appendsInFlightMax, 64);
    assert.ok(width >= 1);
    const acknowledged: bigint[] = [];
    let next = 1n;
    for (let round = 0; round < 10; round++) {
      const appends: Promise<void>[] = [];
      for (let slot = 0; slot < width; slot++) {
        const index = next++;
        appends.push(
          engine.append({ term, index, payload: payloadOf(index) }).then((outcome) => {
            assert.deepEqual(outcome, { outcome: 'done' });
            acknowledged.push(index);
          }),
        );
      }
      await Promise.all(appends);
    }
    assert.deepEqual(
      acknowledged,
      acknowledged.map((_index, place) => BigInt(place + 1)),
    );
    assertEntries(await readAll(engine, 1n), 1n, next - 1n);
  });

  scenario('where an append in flight is fenced, none after it is done', async (_, engine) => {
    const { term } = await engine.elect();
    if (engine.limits.appendsInFlightMax < 3) return;
    const outcomes = await Promise.all(
      [1n, 3n, 4n].map((index) => engine.append({ term, index, payload: payloadOf(index) })),
    );
    assert.deepEqual(
      outcomes.map((outcome) => outcome.outcome),
      ['done', 'fenced', 'fenced'],
    );
    assertEntries(await readAll(engine, 1n), 1n, 1n);
  });
}

function payloadScenarios(scenario: Scenario): void {
  scenario('payload bytes come back unchanged, whatever they are', async (_, engine) => {
    const leadership = await engine.elect();
    const everyByte = Uint8Array.from({ length: 256 }, (_byte, value) => value);
    const longest = Math.min(engine.limits.payloadBytesMax, WRITTEN_PAYLOAD_BYTES_MAX);
    const payloads = [
      new Uint8Array(0),
      Uint8Array.of(0),
      everyByte,
      new Uint8Array(5000),
      everyByte.subarray(7, 91),
      payloadOf(5n, Math.min(longest, 70_000)),
      payloadOf(6n, longest),
    ];
    for (const [place, payload] of payloads.entries()) {
      await appendDone(engine, leadership, BigInt(place + 1), payload);
    }
    const entries = await readAll(engine, 1n);
    assert.equal(entries.length, payloads.length);
    for (const [place, payload] of payloads.entries()) {
      assertBytes(entries[place]?.payload ?? new Uint8Array(), payload);
    }
  });

  scenario('the log does not change with a buffer reused after its append', async (_, engine) => {
    const leadership = await engine.elect();
    // A Buffer too: its `slice` is a view, where that of any other Uint8Array is a copy.
    for (const [index, payload] of [
      [1n, payloadOf(1n)],
      [2n, Buffer.from(payloadOf(2n))],
    ] as const) {
      await appendDone(engine, leadership, index, payload);
      payload.fill(0xff);
    }
    assertEntries(await readAll(engine, 1n), 1n, 2n);
  });

  scenario('an entry read is the receiver’s to keep', async (_, engine) => {
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 10n);
    const kept = await readAll(engine, 1n);
    await appendRange(engine, leadership, 11n, 200n);
    await readAll(engine, 1n);
    assertEntries(kept, 1n, 10n);
  });

  scenario('a payload above the limit is refused and nothing is written', async (_, engine) => {
    const { term } = await engine.elect();
    const payload = new Uint8Array(engine.limits.payloadBytesMax + 1);
    await assertCode(
      engine.append({ term, index: 1n, payload }),
      'RAFTSEAL_ENGINE_PAYLOAD_TOO_LARGE',
    );
    assert.deepEqual(await engine.bounds(), { firstIndex: 1n, headIndex: 0n });
    const outcome = await engine.append({ term, index: 1n, payload: payloadOf(1n) });
    assert.deepEqual(outcome, { outcome: 'done' });
  });
}
