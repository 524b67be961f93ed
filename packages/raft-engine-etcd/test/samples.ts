/** Entries that tell their index, and the few steps that tests are told in. */
import type { AppendOutcome, Leadership, LogEntry, RaftEngine } from '@raftseal/interface';
import { expect } from 'vitest';

export function payloadOf(index: bigint, byteLength = 24): Buffer {
  const payload = Buffer.alloc(byteLength, Number(index % 251n));
  payload.writeBigUInt64BE(index);
  return payload;
}

export function appendOne(
  engine: RaftEngine,
  { term }: Pick<Leadership, 'term'>,
  index: bigint,
  byteLength?: number,
): Promise<AppendOutcome> {
  return engine.append({ term, index, payload: payloadOf(index, byteLength) });
}

export async function appendRange(
  engine: RaftEngine,
  leadership: Pick<Leadership, 'term'>,
  first: bigint,
  last: bigint,
  byteLength?: number,
): Promise<void> {
  for (let index = first; index <= last; index++) {
    const outcome = await appendOne(engine, leadership, index, byteLength);
    expect(outcome, `append at ${index}`).toEqual({ outcome: 'done' });
  }
}

/** Repeats an append until its outcome is known. */
export async function settle(
  engine: RaftEngine,
  leadership: Pick<Leadership, 'term'>,
  index: bigint,
): Promise<AppendOutcome> {
  for (;;) {
    const outcome = await appendOne(engine, leadership, index);
    if (outcome.outcome !== 'ambiguous') return outcome;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function readAll(engine: RaftEngine, from = 1n): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for await (const chunk of engine.read({ from, follow: false })) entries.push(...chunk);
  return entries;
}

/** Follows the log until `through` was read. */
export async function followThrough(
  engine: RaftEngine,
  from: bigint,
  through: bigint,
): Promise<LogEntry[]> {
  const stop = new AbortController();
  const entries: LogEntry[] = [];
  for await (const chunk of engine.read({ from, follow: true, signal: stop.signal })) {
    entries.push(...chunk);
    if ((entries.at(-1)?.index ?? 0n) >= through) stop.abort();
  }
  return entries;
}

/** Insists on the indexes `first..last` with their payloads. */
export function expectEntries(entries: readonly LogEntry[], first: bigint, last: bigint): void {
  const wanted = Array.from(
    { length: Number(last - first) + 1 },
    (_, place) => first + BigInt(place),
  );
  expect(entries.map(({ index }) => index)).toEqual(wanted);
  for (const { index, payload } of entries) {
    expect(payloadOf(index, payload.byteLength).equals(payload), `payload of ${index}`).toBe(true);
  }
}

export function code(expected: string): object {
  return expect.objectContaining({ code: expected });
}

/** Resolves once the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });
}

/** Resolves once `isSo` says yes; it is asked often. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 20));
}
