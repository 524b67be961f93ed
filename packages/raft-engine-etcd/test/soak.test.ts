/**
 * Three nodes fight for two shards over calls that are lost, late or held up, while leases and
 * leader keys are taken away. `RAFTSEAL_SOAK_SECONDS` makes it longer, `RAFTSEAL_SOAK_SEED` another.
 */
import { setMaxListeners } from 'node:events';
import type { Leadership, LogEntry, RaftEngine } from '@raftseal/interface';
import { expect, it } from 'vitest';
import type { EtcdLog } from '../src/index.ts';
import { useEtcd } from './cluster.ts';
import { type CallProxy, lost } from './proxy.ts';
import { readAll } from './samples.ts';

const seconds = Number(process.env.RAFTSEAL_SOAK_SECONDS ?? 6);
const seed = Number(process.env.RAFTSEAL_SOAK_SEED ?? 1);
const shardIds = [0, 7];
const cluster = useEtcd();

/** Mulberry32: from 0 to 1. */
function randomOf(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What became of an append, as its writer was told. */
interface Told {
  readonly shardId: number;
  readonly index: bigint;
  readonly text: string;
  readonly outcome: 'done' | 'fenced';
}

class Node {
  readonly log: EtcdLog;
  /** By shard, while it takes itself for the leader. */
  readonly leaderships: Map<number, Leadership> = new Map();
  readonly read: Map<number, LogEntry[]> = new Map();
  readonly told: Told[] = [];
  readonly #nodeId: string;
  readonly #random: () => number;
  #appends = 0;

  constructor(nodeId: string, log: EtcdLog, random: () => number) {
    this.#nodeId = nodeId;
    this.log = log;
    this.#random = random;
  }

  run(signal: AbortSignal): Promise<unknown> {
    return Promise.all(
      shardIds.flatMap((shardId) => [this.#write(shardId, signal), this.#follow(shardId, signal)]),
    );
  }

  async #write(shardId: number, signal: AbortSignal): Promise<void> {
    const engine = this.log.engine(shardId);
    const yieldMs = (): number => 100 * this.#random();
    while (!signal.aborted) {
      const leadership = await engine.elect(signal, { yieldMs }).catch(() => undefined);
      if (leadership === undefined) continue;
      this.leaderships.set(shardId, leadership);
      await this.#reign(engine, shardId, leadership, signal);
      this.leaderships.delete(shardId);
      await leadership.resign();
    }
  }

  async #reign(
    engine: RaftEngine,
    shardId: number,
    { term, headIndex, signal: ended }: Leadership,
    stop: AbortSignal,
  ): Promise<void> {
    for (let index = headIndex + 1n; !stop.aborted && !ended.aborted; index++) {
      this.#appends += 1;
      const text = `${this.#nodeId} ${term} ${this.#appends}`;
      const payload = Buffer.from(text);
      let attempt = await engine.append({ term, index, payload });
      while (attempt.outcome === 'ambiguous') {
        await pause(10);
        attempt = await engine.append({ term, index, payload });
      }
      const { outcome } = attempt;
      if (outcome === 'refused') throw attempt.error;
      this.told.push({ shardId, index, text, outcome });
      if (outcome === 'fenced' || this.#random() < 0.02) return;
    }
  }

  async #follow(shardId: number, signal: AbortSignal): Promise<void> {
    const entries: LogEntry[] = [];
    this.read.set(shardId, entries);
    const request = { from: 1n, follow: true, signal };
    for await (const chunk of this.log.engine(shardId).read(request)) entries.push(...chunk);
  }
}

/** Makes the calls through a proxy fare badly until the signal is aborted. */
function disturb(proxy: CallProxy, random: () => number, signal: AbortSignal): void {
  let darkUntilMs = 0;
  proxy.intercept = async (_method, request, forward) => {
    if (signal.aborted) return forward(request);
    const now = performance.now();
    if (random() < 0.003) darkUntilMs = now + 4_000 * random();
    if (now < darkUntilMs) {
      await pause(Math.min(300, darkUntilMs - now));
      throw lost();
    }
    const fate = random();
    if (fate < 0.03) throw lost();
    if (fate < 0.06) {
      await forward(request);
      throw lost();
    }
    if (fate < 0.09) {
      // Made later, when nobody waits for it.
      void pause(1_500 * random()).then(() => forward(request).catch(() => {}));
      throw lost();
    }
    if (fate < 0.12) await pause(400 * random());
    return forward(request);
  };
}

async function takeAway(random: () => number): Promise<void> {
  const run = (...args: string[]) => cluster.etcd.etcdctl(...args).catch(() => '');
  const nodeId = ['a', 'b', 'c'][Math.floor(random() * 3)] ?? 'a';
  const shardId = shardIds[Math.floor(random() * 2)];
  if (random() < 0.5) await run('lease', 'revoke', await cluster.leaseOf(nodeId));
  else await run('del', `${cluster.prefix}/leaders/${shardId}`);
}

it(
  `invariants 2, 8 and 9: over ${seconds} s of bad calls (seed ${seed})`,
  async () => {
    const random = randomOf(seed);
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    const nodes: Node[] = [];
    for (const nodeId of ['a', 'b', 'c']) {
      const proxy = await cluster.proxy();
      const access = { endpoints: [proxy.endpoint], requestTimeoutMs: 800 };
      const log = await cluster.open({ nodeId, access, leaseTtlMs: 2_000, leaseMarginMs: 500 });
      nodes.push(new Node(nodeId, log, random));
      disturb(proxy, random, stop.signal);
    }
    const running = nodes.map((node) => node.run(stop.signal));
    const rivals: string[] = [];
    const endMs = performance.now() + 1_000 * seconds;
    for (let step = 1; performance.now() < endMs; step++) {
      for (const shardId of shardIds) {
        const current = nodes.filter(({ leaderships }) => leaderships.get(shardId)?.isCurrent());
        if (current.length > 1) rivals.push(`shard ${shardId} at step ${step}`);
      }
      if (step % 200 === 0) await takeAway(random);
      await pause(5);
    }
    stop.abort();
    await Promise.all(running);
    expect(rivals).toEqual([]);
    for (const shardId of shardIds) await verify(nodes, shardId);
  },
  1_000 * seconds + 60_000,
);

async function verify(nodes: readonly Node[], shardId: number): Promise<void> {
  const [first] = nodes;
  if (first === undefined) return;
  const entries = await readAll(first.log.engine(shardId));
  const texts = entries.map(({ payload }) => Buffer.from(payload).toString());
  expect(entries.map(({ index }) => index)).toEqual(entries.map((_, place) => BigInt(place + 1)));
  for (const [place, { term }] of entries.entries()) {
    expect(term).toBeGreaterThanOrEqual(entries[place - 1]?.term ?? 0n);
  }
  const told = nodes.flatMap((node) => node.told).filter((each) => each.shardId === shardId);
  const done = told.filter(({ outcome }) => outcome === 'done');
  expect(done.length).toBeGreaterThan(10);
  for (const { index, text } of done) expect(texts[Number(index) - 1]).toBe(text);
  for (const { text, outcome } of told) if (outcome === 'fenced') expect(texts).not.toContain(text);
  expect(new Set(texts).size).toBe(texts.length);
  for (const { read } of nodes) {
    const seen = (read.get(shardId) ?? []).map(({ payload }) => Buffer.from(payload).toString());
    expect(seen).toEqual(texts.slice(0, seen.length));
    expect(seen.length).toBeGreaterThan(0);
  }
}
