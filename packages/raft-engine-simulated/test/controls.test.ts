import { codeOf, type LogEntry, type RaftEngine } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import { type SimulatedCluster, simulatedCluster } from '../src/index.ts';

const shardId = 0;
const a = { nodeId: 'a', shardId };
const b = { nodeId: 'b', shardId };
const bytes = (text: string): Uint8Array => Buffer.from(text);
const texts = (entries: readonly LogEntry[]): string[] =>
  entries.map((entry) => Buffer.from(entry.payload).toString());

function trio(options: Partial<Parameters<typeof simulatedCluster>[0]> = {}): SimulatedCluster {
  return simulatedCluster({ nodes: ['a', 'b', 'c'], shards: [0, 1], ...options });
}

/** Waits until everything scheduled has run. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Collects what a replica reads, as it arrives. */
function collect(engine: RaftEngine): { entries: LogEntry[]; ended: Promise<void> } {
  const entries: LogEntry[] = [];
  const ended = (async () => {
    for await (const chunk of engine.read({ from: 1n, follow: true })) entries.push(...chunk);
  })();
  return { entries, ended };
}

describe('who leads', () => {
  it('is the node that the test names, whoever led before', async () => {
    const cluster = trio();
    const first = await cluster.engine('a', 0).elect();
    const candidacy = cluster.engine('b', 0).elect();
    cluster.elect(b);
    expect(first.signal.aborted).toBe(true);
    expect((await candidacy).term).toBe(first.term + 1n);
    expect(cluster.leader(0)).toEqual({ nodeId: 'b', term: 2n });
  });

  it('waits for the named node and elects nobody else meanwhile', async () => {
    const cluster = trio();
    cluster.elect(b);
    let elected = false;
    void cluster
      .engine('a', 0)
      .elect()
      .then(() => {
        elected = true;
      });
    await settle();
    expect(elected).toBe(false);
    expect((await cluster.engine('b', 0).elect()).term).toBe(1n);
  });

  it('is nobody without autoElect until the test elects', async () => {
    const cluster = trio({ autoElect: false });
    const candidacy = cluster.engine('a', 0).elect();
    await settle();
    expect(cluster.leader(0)).toBeUndefined();
    cluster.elect(a);
    expect((await candidacy).headIndex).toBe(0n);
  });

  it('is decided shard by shard', async () => {
    const cluster = trio();
    const control = await cluster.engine('a', 0).elect();
    const data = await cluster.engine('b', 1).elect();
    cluster.depose(0);
    expect(control.signal.aborted).toBe(true);
    expect(data.signal.aborted).toBe(false);
  });
});

describe('a paused node', () => {
  it('does not notice its deposition until it resumes, and is fenced meanwhile', async () => {
    const cluster = trio();
    const engine = cluster.engine('a', 0);
    const former = await engine.elect();
    cluster.pause('a');
    const candidacy = cluster.engine('b', 0).elect();
    cluster.elect(b);
    const leader = await candidacy;
    expect(former.signal.aborted).toBe(false);
    const append = engine.append({ term: former.term, index: 1n, payload: bytes('late') });
    expect((await append).outcome).toBe('fenced');
    const other = cluster.engine('b', 0);
    await other.append({ term: leader.term, index: 1n, payload: bytes('kept') });
    const { entries } = collect(engine);
    await settle();
    expect(entries).toEqual([]);
    cluster.resume('a');
    expect(former.signal.aborted).toBe(true);
    await settle();
    expect(texts(entries)).toEqual(['kept']);
  });
});

describe('a partitioned node', () => {
  it('loses its leadership at once and can neither see nor say anything', async () => {
    const cluster = trio();
    const engine = cluster.engine('a', 0);
    const leadership = await engine.elect();
    cluster.partition('a');
    expect(leadership.signal.aborted).toBe(true);
    const request = { term: leadership.term, index: 1n, payload: bytes('x') };
    expect((await engine.append(request)).outcome).toBe('fenced');
    for (const call of [engine.bounds(), engine.members(), engine.truncate(0n)]) {
      await expect(call).rejects.toMatchObject({ code: 'RAFTSEAL_ENGINE_UNAVAILABLE' });
    }
    const { entries } = collect(engine);
    const other = cluster.engine('b', 0);
    const { term } = await other.elect();
    await other.append({ term, index: 1n, payload: bytes('y') });
    await settle();
    expect(entries).toEqual([]);
    cluster.heal('a');
    await settle();
    expect(texts(entries)).toEqual(['y']);
  });

  it('leaves an append in transit ambiguous, landed for some seeds and lost for others', async () => {
    const fates = new Set<number>();
    for (let seed = 1; seed <= 16; seed++) {
      const cluster = trio({ seed });
      const engine = cluster.engine('a', 0);
      const { term } = await engine.elect();
      const append = engine.append({ term, index: 1n, payload: bytes('x') });
      cluster.partition('a');
      expect((await append).outcome).toBe('ambiguous');
      fates.add(cluster.log(0).length);
    }
    expect(fates).toEqual(new Set([0, 1]));
  });
});

describe('a crashed node', () => {
  it('is refused everything and starts again over the same log', async () => {
    const cluster = trio();
    const engine = cluster.engine('a', 0);
    const leadership = await engine.elect();
    await engine.append({ term: leadership.term, index: 1n, payload: bytes('kept') });
    const { ended } = collect(engine);
    cluster.crash('a');
    expect(leadership.signal.aborted).toBe(true);
    await ended;
    await expect(engine.bounds()).rejects.toMatchObject({ code: 'RAFTSEAL_ENGINE_CLOSED' });
    expect(() => cluster.engine('a', 0)).toThrow(RangeError);
    cluster.restart('a');
    const again = cluster.engine('a', 0);
    expect(again).not.toBe(engine);
    expect((await again.elect()).headIndex).toBe(1n);
  });
});

describe('delivery', () => {
  it('is held back from one replica while the entry is committed everywhere else', async () => {
    const cluster = trio();
    const leader = cluster.engine('a', 0);
    const { term } = await leader.elect();
    const atB = collect(cluster.engine('b', 0));
    const atC = collect(cluster.engine('c', 0));
    await leader.append({ term, index: 1n, payload: bytes('one') });
    await settle();
    cluster.holdDelivery(b);
    await leader.append({ term, index: 2n, payload: bytes('marker') });
    await leader.append({ term, index: 3n, payload: bytes('three') });
    await settle();
    expect(texts(atB.entries)).toEqual(['one']);
    expect(texts(atC.entries)).toEqual(['one', 'marker', 'three']);
    expect((await cluster.engine('b', 0).bounds()).headIndex).toBe(3n);
    cluster.releaseDelivery(b, 2n);
    await settle();
    expect(texts(atB.entries)).toEqual(['one', 'marker']);
    expect(cluster.arrivedIndex(b)).toBe(2n);
    cluster.releaseDelivery(b);
    await settle();
    expect(texts(atB.entries)).toEqual(['one', 'marker', 'three']);
  });

  it('HAZARD PROP-18: a leader can be elected before its own reads show it the head', async () => {
    const cluster = trio();
    const leader = cluster.engine('a', 0);
    const { term } = await leader.elect();
    cluster.holdDelivery(b, 0n);
    await leader.append({ term, index: 1n, payload: bytes('marker') });
    const candidacy = cluster.engine('b', 0).elect();
    cluster.elect(b);
    expect((await candidacy).headIndex).toBe(1n);
    expect(cluster.arrivedIndex(b)).toBe(0n);
  });

  it('tells a replica that was overtaken by truncation', async () => {
    const cluster = trio();
    const leader = cluster.engine('a', 0);
    const { term } = await leader.elect();
    cluster.holdDelivery(b, 0n);
    const { ended } = collect(cluster.engine('b', 0));
    await leader.append({ term, index: 1n, payload: bytes('gone') });
    await leader.truncate(1n);
    await expect(ended).rejects.toMatchObject({ code: 'RAFTSEAL_ENGINE_TRUNCATED' });
    expect(texts(cluster.log(0))).toEqual(['gone']);
  });

  it('is put off by scheduler steps, not by time', async () => {
    const cluster = trio();
    cluster.delayDelivery(b, 12);
    const leader = cluster.engine('a', 0);
    const { term } = await leader.elect();
    const atB = collect(cluster.engine('b', 0));
    for (let index = 1n; index <= 5n; index++) {
      await leader.append({ term, index, payload: bytes(`${index}`) });
    }
    await settle();
    expect(texts(atB.entries)).toEqual(['1', '2', '3', '4', '5']);
  });
});

describe('the next append', () => {
  it('is ambiguous and landed, lost, or late, as the test asks', async () => {
    const cluster = trio();
    const engine = cluster.engine('a', 0);
    const { term } = await engine.elect();
    const append = (index: bigint, text: string) =>
      engine.append({ term, index, payload: bytes(text) });

    cluster.faultNextAppend(a, 'ambiguousLanded');
    expect((await append(1n, 'landed')).outcome).toBe('ambiguous');
    expect((await append(1n, 'landed')).outcome).toBe('fenced');

    cluster.faultNextAppend(a, 'ambiguousLost');
    expect((await append(2n, 'retried')).outcome).toBe('ambiguous');
    expect((await append(2n, 'retried')).outcome).toBe('done');

    cluster.faultNextAppend(a, 'ambiguousLate');
    expect((await append(3n, 'late')).outcome).toBe('ambiguous');
    expect(cluster.log(0)).toHaveLength(2);
    expect(cluster.landLateAppends(a)).toBe(1);
    expect((await append(3n, 'late')).outcome).toBe('fenced');
    expect(texts(cluster.log(0))).toEqual(['landed', 'retried', 'late']);
  });

  it('is fenced when it comes late after another took its place', async () => {
    const cluster = trio();
    const engine = cluster.engine('a', 0);
    const { term } = await engine.elect();
    cluster.faultNextAppend(a, 'ambiguousLate');
    await engine.append({ term, index: 1n, payload: bytes('late') });
    expect((await engine.append({ term, index: 1n, payload: bytes('first') })).outcome).toBe(
      'done',
    );
    expect(cluster.landLateAppends(a)).toBe(0);
    expect(texts(cluster.log(0))).toEqual(['first']);
  });

  it('fails for good where the flush failed', async () => {
    const cluster = trio();
    const engine = cluster.engine('a', 0);
    const { term } = await engine.elect();
    cluster.faultNextAppend(a, 'flushFailed');
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = await engine
        .append({ term, index: 1n, payload: bytes('x') })
        .catch((thrown: unknown) => thrown);
      expect(codeOf(error)).toBe('RAFTSEAL_ENGINE_FLUSH_FAILED');
    }
  });

  it('is a RangeError above the number in flight', async () => {
    const cluster = trio();
    const engine = cluster.engine('a', 0);
    const { term } = await engine.elect();
    const first = engine.append({ term, index: 1n, payload: bytes('1') });
    await expect(engine.append({ term, index: 2n, payload: bytes('2') })).rejects.toThrow(
      RangeError,
    );
    expect((await first).outcome).toBe('done');
  });
});

describe('the seed', () => {
  it('decides the run: same seed and calls, same elections, chunks and fates', async () => {
    expect(await transcript(7)).toEqual(await transcript(7));
    const others = await Promise.all([1, 2, 3, 4].map(transcript));
    expect(new Set(others.map((lines) => lines.join())).size).toBeGreaterThan(1);
  });
});

async function transcript(seed: number): Promise<string[]> {
  const queue: (() => void)[] = [];
  const cluster = trio({ seed, schedule: (task) => queue.push(task) });
  const lines: string[] = [];
  for (const nodeId of ['a', 'b', 'c']) {
    cluster.delayDelivery({ nodeId, shardId }, 5);
    void run(cluster.engine(nodeId, 0), nodeId, lines);
  }
  for (let step = 0; step < 200; step++) {
    for (let turn = 0; turn < 8; turn++) await Promise.resolve();
    if (step === 60) cluster.depose(0);
    if (step === 120) cluster.partition(cluster.leader(0)?.nodeId ?? 'a');
    queue.shift()?.();
  }
  await cluster.close();
  return lines;
}

async function run(engine: RaftEngine, nodeId: string, lines: string[]): Promise<void> {
  const reading = (async () => {
    for await (const chunk of engine.read({ from: 1n, follow: true })) {
      lines.push(`${nodeId} reads ${chunk.map((entry) => entry.index).join()}`);
    }
  })();
  try {
    for (;;) {
      const { term, headIndex, signal } = await engine.elect();
      lines.push(`${nodeId} leads ${term}`);
      for (let index = headIndex + 1n; !signal.aborted; index++) {
        const { outcome } = await engine.append({ term, index, payload: bytes(nodeId) });
        lines.push(`${nodeId} appends ${index}: ${outcome}`);
        if (outcome !== 'done') break;
      }
    }
  } catch (error) {
    lines.push(`${nodeId} ends: ${codeOf(error)}`);
  }
  await reading;
}
