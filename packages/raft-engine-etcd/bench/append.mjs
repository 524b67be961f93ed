/**
 * Appends per second through the engine, for 1, 16 and 64 shards of one node with one append under
 * way each, against etcd processes of this machine; once more with a second node that follows: how
 * long after its acknowledgement an entry is there. Build first; the arguments are the number of
 * members (1 or 3) and the time of each run in ms.
 */
import { startEtcd } from '@raftseal/etcd-for-tests';
import { openEtcdLog } from '@raftseal/raft-engine-etcd';

const members = process.argv[2] === '3' ? 3 : 1;
const RUN_MS = Number(process.argv[3] ?? 3000);
const etcd = await startEtcd({ members });
const access = { endpoints: etcd.endpoints };
let runs = 0;

for (const payloadBytes of [300, 4096, 16384]) {
  for (const shards of [1, 16, 64]) await measure(shards, payloadBytes, false);
}
await measure(1, 300, true);
await measure(16, 300, true);
await etcd.close();

async function measure(shards, payloadBytes, isFollowed) {
  runs += 1;
  const shardIds = Array.from({ length: shards }, (_, id) => id);
  const options = { access, prefix: `bench/${runs}`, shardIds, compactAfterMs: 0 };
  const log = await openEtcdLog({ ...options, nodeId: 'leader' });
  const follower = isFollowed ? await openEtcdLog({ ...options, nodeId: 'follower' }) : undefined;
  const payload = Buffer.alloc(payloadBytes, 0x5a);
  const acknowledged = new Map();
  const arrived = new Map();
  const latencies = [];
  const stop = new AbortController();
  let endMs = Number.POSITIVE_INFINITY;
  const append = async (shardId, { term }) => {
    const engine = log.engine(shardId);
    for (let index = 1n; performance.now() < endMs; index++) {
      const began = performance.now();
      const { outcome } = await engine.append({ term, index, payload });
      if (outcome !== 'done') throw new Error(`an append ended ${outcome}`);
      const now = performance.now();
      latencies.push(now - began);
      if (isFollowed) acknowledged.set(`${shardId} ${index}`, now);
    }
  };
  const follow = async (shardId) => {
    const request = { from: 1n, follow: true, signal: stop.signal };
    for await (const entries of follower.engine(shardId).read(request)) {
      const now = performance.now();
      for (const { index } of entries) arrived.set(`${shardId} ${index}`, now);
    }
  };
  const leaderships = await Promise.all(shardIds.map((shardId) => log.engine(shardId).elect()));
  const following = isFollowed ? shardIds.map(follow) : [];
  endMs = performance.now() + RUN_MS;
  await Promise.all(shardIds.map((shardId) => append(shardId, leaderships[shardId])));
  while (arrived.size < acknowledged.size) await new Promise((resolve) => setTimeout(resolve, 10));
  stop.abort();
  await Promise.all(following);
  const lags = [...acknowledged].map(([name, ms]) => arrived.get(name) - ms);
  report(shards, payloadBytes, latencies, lags);
  await Promise.all(
    shardIds.map(async (shardId) => {
      const engine = log.engine(shardId);
      await engine.truncate((await engine.bounds()).headIndex);
    }),
  );
  await log.compact();
  await Promise.all([log.close(), follower?.close()]);
}

function report(shards, payloadBytes, latencies, lags) {
  const at = (values, share) => {
    const sorted = values.toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length * share)].toFixed(2);
  };
  const rate = Math.round((latencies.length / RUN_MS) * 1000);
  const lag = lags.length === 0 ? '' : `; followed ${at(lags, 0.5)} / ${at(lags, 0.99)} ms later`;
  console.log(
    `${members} members, ${String(payloadBytes).padStart(5)} B, ${String(shards).padStart(2)} ` +
      `shards: ${rate}/s, p50 ${at(latencies, 0.5)} ms, p99 ${at(latencies, 0.99)} ms${lag}`,
  );
}
