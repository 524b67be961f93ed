/**
 * Appends per second through the engine, at 1, 50 and 500 concurrent callers of one shard each,
 * with payloads of 300 B, 4 KiB and 16 KiB; and how fast a log is opened again. Build first; the
 * directory is the first argument.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openEmbeddedLog } from '@raftseal/raft-engine-embedded';

const base = process.argv[2] ?? process.cwd();
const RUN_MS = Number(process.argv[3] ?? 2000);

for (const payloadBytes of [300, 4096, 16384]) {
  for (const callers of [1, 50, 500]) await measure(callers, payloadBytes, false);
}
await measure(1, 300, true);
await measure(50, 300, true);

async function measure(callers, payloadBytes, followed) {
  const directory = mkdtempSync(join(base, '.raftseal-bench-'));
  const shardIds = Array.from({ length: callers }, (_, id) => id);
  const options = { directory, nodeId: 'bench', shardIds };
  const log = await openEmbeddedLog(options);
  const payload = Buffer.alloc(payloadBytes, 0x5a);
  const latencies = [];
  let appended = 0;
  let longestPauseMs = 0;
  let last = performance.now();
  const clock = setInterval(() => {
    const now = performance.now();
    longestPauseMs = Math.max(longestPauseMs, now - last - 5);
    last = now;
  }, 5);
  const stop = performance.now() + RUN_MS;
  const caller = async (shardId) => {
    const engine = log.engine(shardId);
    const { term } = await engine.elect();
    const reader = followed ? follow(engine) : undefined;
    for (let index = 1n; performance.now() < stop; index++) {
      const began = performance.now();
      await engine.append({ term, index, payload });
      if (reader !== undefined) await reader.reach(index);
      latencies.push(performance.now() - began);
      appended += 1;
      if (index % 1000n === 0n) await engine.truncate(index - 500n);
    }
  };
  await Promise.all(shardIds.map(caller));
  clearInterval(clock);
  await log.close();
  const { byteLength } = log.size();
  const began = performance.now();
  const again = await openEmbeddedLog(options);
  const openMs = performance.now() - began;
  await again.close();
  rmSync(directory, { recursive: true });
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.floor(latencies.length * share)].toFixed(2);
  console.log(
    `${String(payloadBytes).padStart(6)} B ${String(callers).padStart(4)} callers` +
      `${followed ? ', read back' : ''}: ${Math.round((appended / RUN_MS) * 1000)}/s, ` +
      `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest pause ${longestPauseMs.toFixed(1)} ms; ` +
      `reopened ${Math.round(byteLength / 1e6)} MB in ${openMs.toFixed(0)} ms`,
  );
}

function follow(engine) {
  let reached = 0n;
  let wake = () => {};
  void (async () => {
    for await (const entries of engine.read({ from: 1n, follow: true })) {
      reached = entries.at(-1).index;
      wake();
    }
  })();
  return {
    reach: async (index) => {
      while (reached < index) await new Promise((resolve) => (wake = resolve));
    },
  };
}
