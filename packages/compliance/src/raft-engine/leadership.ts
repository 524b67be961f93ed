/** Leadership: terms only grow, the head is that of the election, who resigned is fenced. */
import assert from 'node:assert/strict';
import {
  appendDone,
  appendRange,
  assertEntries,
  assertFenced,
  followThrough,
  isPending,
  payloadOf,
  readAll,
  type Scenario,
} from './scenario.ts';

export function leadershipScenarios(scenario: Scenario): void {
  scenario('every election has a higher term and reports the head', async (_, engine) => {
    let term = 0n;
    let head = 0n;
    for (let round = 0; round < 5; round++) {
      const leadership = await engine.elect();
      assert.ok(leadership.term > term, `term ${leadership.term} after ${term}`);
      assert.equal(leadership.headIndex, head);
      assert.equal(leadership.signal.aborted, false);
      await appendRange(engine, leadership, head + 1n, head + 3n);
      term = leadership.term;
      head += 3n;
      await leadership.resign();
    }
    const terms = (await readAll(engine, 1n)).map((entry) => entry.term);
    assert.equal(new Set(terms).size, 5);
    assert.deepEqual(terms, [...terms].sort(compare));
  });

  scenario('resigning aborts the signal synchronously and is idempotent', async (_, engine) => {
    const leadership = await engine.elect();
    let heard = false;
    leadership.signal.addEventListener('abort', () => {
      heard = true;
    });
    const resigned = leadership.resign();
    assert.equal(leadership.signal.aborted, true);
    assert.equal(heard, true);
    await resigned;
    await leadership.resign();
  });

  scenario('an append of a leader that resigned is fenced', async (_, engine) => {
    const former = await engine.elect();
    await appendDone(engine, former, 1n);
    await former.resign();
    const request = { term: former.term, index: 2n, payload: payloadOf(2n) };
    assertFenced(await engine.append(request));
    const leadership = await engine.elect();
    assert.equal(leadership.headIndex, 1n);
    assertFenced(await engine.append(request));
    await appendDone(engine, leadership, 2n);
    await former.resign();
    assert.equal(leadership.signal.aborted, false, 'a former leader cannot resign for the next');
    assertEntries(await readAll(engine, 1n), 1n, 2n);
  });

  scenario('an election with an aborted signal throws its reason', async (_, engine) => {
    const reason = new Error('stopping');
    await assert.rejects(engine.elect(AbortSignal.abort(reason)), (error) => error === reason);
    const leadership = await engine.elect();
    await appendDone(engine, leadership, 1n);
  });

  scenario('the members are named once each, and there is one at least', async (_, engine) => {
    const members = await engine.members();
    assert.ok(members.length >= 1);
    assert.equal(new Set(members.map((member) => member.nodeId)).size, members.length);
    for (const member of members) assert.ok(['voter', 'learner'].includes(member.role));
  });
}

/** Scenarios with a second node of the shard. */
export function rivalScenarios(scenario: Scenario): void {
  scenario('a second node is elected only after the first resigned', async (fixture, engine) => {
    const rival = await required(fixture.rival)();
    const first = await engine.elect();
    await appendRange(engine, first, 1n, 3n);
    const candidacy = rival.elect();
    assert.equal(await isPending(candidacy), true);
    await first.resign();
    const second = await candidacy;
    assert.ok(second.term > first.term);
    assert.equal(second.headIndex, 3n);
    assertFenced(await engine.append({ term: first.term, index: 4n, payload: payloadOf(4n) }));
    assertFenced(await engine.append({ term: second.term, index: 4n, payload: payloadOf(4n) }));
    await appendDone(rival, second, 4n);
    assertEntries(await readAll(engine, 1n), 1n, 4n);
    await rival.close();
  });

  scenario('an abort ends a waiting election with its reason', async (fixture, engine) => {
    const rival = await required(fixture.rival)();
    await engine.elect();
    const stop = new AbortController();
    const candidacy = rival.elect(stop.signal);
    assert.equal(await isPending(candidacy), true);
    const reason = new Error('no more');
    stop.abort(reason);
    await assert.rejects(candidacy, (error) => error === reason);
    await rival.close();
  });

  scenario('a follower reads what the leader appends', async (fixture, engine) => {
    const rival = await required(fixture.rival)();
    const leadership = await engine.elect();
    const following = followThrough(rival, 1n, 40n);
    await appendRange(engine, leadership, 1n, 40n);
    assertEntries(await following, 1n, 40n);
    assert.equal((await rival.bounds()).headIndex, 40n);
    await rival.close();
  });
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function required<T>(value: T | undefined): T {
  assert.ok(value !== undefined, 'a declared capability is supplied by the fixture');
  return value;
}
