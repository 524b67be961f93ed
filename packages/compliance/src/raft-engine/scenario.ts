/**
 * What the parts of the RaftEngine suite share: the fixture an adapter supplies, and the few steps
 * that every scenario is told in.
 */
import assert from 'node:assert/strict';
import type { AppendOutcome, Leadership, LogEntry, RaftEngine } from '@raftseal/interface';
import type { TestRunner } from '../test-runner.ts';

/** One shard of one empty log, as an adapter's `create` makes it for each scenario. */
export interface RaftEngineFixture {
  readonly engine: RaftEngine;
  /** Closes the engine of this node and opens it again over the same log. */
  readonly reopen?: () => Promise<RaftEngine>;
  /** The engine of a second node of the same shard. */
  readonly rival?: () => Promise<RaftEngine>;
  /** Releases what the fixture itself holds; called after `engine.close()`. */
  readonly dispose?: () => Promise<void>;
}

/** What an adapter declares; scenarios are left out only by these. */
export interface RaftEngineCapabilities {
  /** `fixture.reopen` exists: the log outlives its engine. */
  readonly reopen: boolean;
  /** `fixture.rival` exists: the shard has more than one node. */
  readonly rival: boolean;
  /**
   * `exact`: after `truncate(n)` the first index is n + 1. `lazy`: it may be lower, as the port
   * allows.
   */
  readonly truncation: 'exact' | 'lazy';
}

export interface RaftEngineSuiteOptions {
  /** Names the adapter in the output. */
  readonly name: string;
  readonly create: () => Promise<RaftEngineFixture>;
  readonly capabilities: RaftEngineCapabilities;
}

export type Scenario = (
  name: string,
  body: (fixture: RaftEngineFixture, engine: RaftEngine) => Promise<void>,
) => void;

/** Each scenario runs on a fixture of its own and always closes it. */
export function scenarioOf(runner: TestRunner, options: RaftEngineSuiteOptions): Scenario {
  return (name, body) => {
    runner.it(name, async () => {
      const fixture = await options.create();
      try {
        await body(fixture, fixture.engine);
      } finally {
        await fixture.engine.close();
        await fixture.dispose?.();
      }
    });
  };
}

/** A payload that tells its index, of any length from 8 bytes. */
export function payloadOf(index: bigint, byteLength = 24): Uint8Array {
  const payload = new Uint8Array(byteLength).fill(Number(index % 251n));
  new DataView(payload.buffer).setBigUint64(0, index);
  return payload;
}

/** Appends one entry and insists that it is done. */
export async function appendDone(
  engine: RaftEngine,
  leadership: Leadership,
  index: bigint,
  payload: Uint8Array = payloadOf(index),
): Promise<void> {
  const outcome = await engine.append({ term: leadership.term, index, payload });
  assert.deepEqual(outcome, { outcome: 'done' }, `append at ${index}`);
}

/** Appends `first..last`, one after the other. */
export async function appendRange(
  engine: RaftEngine,
  leadership: Leadership,
  first: bigint,
  last: bigint,
): Promise<void> {
  for (let index = first; index <= last; index++) await appendDone(engine, leadership, index);
}

/** Insists that an append was refused, and that the refusal says why. */
export function assertFenced(outcome: AppendOutcome): void {
  assert.equal(outcome.outcome, 'fenced');
  assert.ok(outcome.outcome === 'fenced' && outcome.reason.length > 0, 'a refusal has a reason');
}

/** Everything a bounded read yields, in one array; chunks are never empty. */
export async function readAll(engine: RaftEngine, from: bigint): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for await (const chunk of engine.read({ from, follow: false })) {
    assert.ok(chunk.length > 0, 'a chunk is never empty');
    entries.push(...chunk);
  }
  return entries;
}

/** Follows the log from `from` until `through` was read, and then ends the read by its signal. */
export async function followThrough(
  engine: RaftEngine,
  from: bigint,
  through: bigint,
): Promise<LogEntry[]> {
  const stop = new AbortController();
  const entries: LogEntry[] = [];
  for await (const chunk of engine.read({ from, follow: true, signal: stop.signal })) {
    assert.ok(chunk.length > 0, 'a chunk is never empty');
    entries.push(...chunk);
    if ((entries.at(-1)?.index ?? 0n) >= through) stop.abort();
  }
  return entries;
}

/** Insists on the indexes `first..last` with the payloads of {@link payloadOf}. */
export function assertEntries(entries: readonly LogEntry[], first: bigint, last: bigint): void {
  const wanted: bigint[] = [];
  for (let index = first; index <= last; index++) wanted.push(index);
  assert.deepEqual(
    entries.map((entry) => entry.index),
    wanted,
  );
  for (const entry of entries) assertBytes(entry.payload, payloadOf(entry.index));
}

/** Compares bytes whatever kind of Uint8Array holds them. */
export function assertBytes(actual: Uint8Array, expected: Uint8Array): void {
  assert.equal(actual.byteLength, expected.byteLength, 'payload length');
  assert.equal(Buffer.compare(actual, expected), 0, 'payload bytes');
}

/** Insists that a promise is rejected with a coded error. */
export async function assertCode(promise: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.equal((error as { code?: unknown }).code, code);
    return true;
  });
}

/** True if the promise is still pending after a few turns of the event loop. */
export async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const settle = (): void => {
    settled = true;
  };
  promise.then(settle, settle);
  for (let turn = 0; turn < 20 && !settled; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  return !settled;
}
