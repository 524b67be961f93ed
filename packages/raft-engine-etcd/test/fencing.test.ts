/**
 * Fences, with calls that are lost, late or faulty. Where a test names a fault that is planted, it
 * shows that the same scenario goes wrong with it: what the scenario proves, it can also disprove.
 */
import type { RaftEngine } from '@raftseal/interface';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EtcdLog } from '../src/index.ts';
import { compareTarget, type RangeRequest, type TxnRequest } from '../src/messages.ts';
import { useEtcd } from './cluster.ts';
import { type CallProxy, type Forward, isAppend, isElection, lost } from './proxy.ts';
import {
  appendOne,
  appendRange,
  code,
  expectEntries,
  payloadOf,
  readAll,
  settle,
  until,
} from './samples.ts';

const cluster = useEtcd();
let proxy: CallProxy;
/** Of the node that reaches etcd through the proxy. */
let log: EtcdLog;
let engine: RaftEngine;

beforeEach(async () => {
  proxy = await cluster.proxy();
  log = await cluster.open({ access: { endpoints: [proxy.endpoint] } });
  engine = log.engine(7);
});

// What closes the log goes through.
afterEach(() => {
  proxy.intercept = undefined;
});

interface LostCall {
  isLost(): boolean;
  /** Makes the call, with a change to it if so wanted. */
  makeLate(change?: (request: object) => object): Promise<object>;
}

/** Loses the answer of the first call that `isIt` picks. */
function loseFirst(
  isIt: (method: string, request: object) => boolean,
  when: 'made' | 'unmade',
): LostCall {
  let first: { request: object; forward: Forward } | undefined;
  proxy.intercept = async (method, request, forward) => {
    if (first !== undefined || !isIt(method, request)) return forward(request);
    first = { request, forward };
    if (when === 'made') await forward(request);
    throw lost();
  };
  return {
    isLost: () => first !== undefined,
    makeLate: async (change = (request) => request) => {
      if (first === undefined) throw new Error('there was no such call');
      return first.forward(change(first.request));
    },
  };
}

/** The same request without its compares of one kind. */
function without(target: number): (request: object) => object {
  return (request) => {
    const { success } = request as TxnRequest;
    return {
      success: success.map((op) => {
        if (!('requestTxn' in op)) return op;
        const compare = op.requestTxn.compare?.filter((each) => each.target !== target) ?? [];
        return { requestTxn: { ...op.requestTxn, compare } };
      }),
    };
  };
}

describe('an append whose answer is lost', () => {
  it('is done, once, where it was made', async () => {
    const leadership = await engine.elect();
    loseFirst(isAppend, 'made');
    expect(await appendOne(engine, leadership, 1n)).toMatchObject({ outcome: 'ambiguous' });
    expect(await settle(engine, leadership, 1n)).toEqual({ outcome: 'done' });
    await appendRange(engine, leadership, 2n, 3n);
    expectEntries(await readAll(engine), 1n, 3n);
  });

  it('is done by the next attempt where it was not made', async () => {
    const leadership = await engine.elect();
    loseFirst(isAppend, 'unmade');
    expect(await appendOne(engine, leadership, 1n)).toMatchObject({ outcome: 'ambiguous' });
    expect(await settle(engine, leadership, 1n)).toEqual({ outcome: 'done' });
    expectEntries(await readAll(engine), 1n, 1n);
  });

  it('leaves its index to nothing else before its outcome is known', async () => {
    const leadership = await engine.elect();
    loseFirst(isAppend, 'unmade');
    await appendOne(engine, leadership, 1n);
    const other = { term: leadership.term, index: 1n, payload: Buffer.from('another') };
    await expect(engine.append(other)).rejects.toThrow(TypeError);
    const after = { term: leadership.term, index: 2n, payload: payloadOf(2n) };
    expect(await engine.append(after)).toMatchObject({ outcome: 'fenced' });
    expect(await settle(engine, leadership, 1n)).toEqual({ outcome: 'done' });
  });

  it('is told by etcd, not by the end of the leadership, what became of it', async () => {
    const leadership = await engine.elect();
    loseFirst(isAppend, 'made');
    await appendOne(engine, leadership, 1n);
    await leadership.resign();
    expect(await settle(engine, leadership, 1n)).toEqual({ outcome: 'done' });
    const again = await engine.elect();
    expect(again.headIndex).toBe(1n);
    loseFirst(isAppend, 'unmade');
    await appendOne(engine, again, 2n);
    await again.resign();
    expect(await settle(engine, again, 2n)).toMatchObject({ outcome: 'fenced' });
  });
});

/** A deposed leader's append arrives when the next leader is about to append at its index. */
async function lateAppend(plant?: (request: object) => object) {
  const rival = (await cluster.open({ nodeId: 'b' })).engine(7);
  const leadership = await engine.elect();
  const call = loseFirst(isAppend, 'unmade');
  await appendOne(engine, leadership, 1n);
  await leadership.resign();
  const next = await rival.elect();
  await call.makeLate(plant);
  const outcome = await appendOne(rival, next, 1n);
  const terms = (await readAll(rival)).map(({ term }) => term);
  return { outcome, terms, next: next.term };
}

describe('the fence on the leader', () => {
  it('invariant 9: an append that comes late, after the next election, has no effect', async () => {
    const { outcome, terms, next } = await lateAppend();
    expect(outcome).toEqual({ outcome: 'done' });
    expect(terms).toEqual([next]);
  });

  it('a planted fault, no compare of the leader, lets it in', async () => {
    const { outcome, terms, next } = await lateAppend(without(compareTarget.create));
    expect(outcome).toMatchObject({ outcome: 'fenced' });
    expect(terms).not.toContain(next);
  });
});

/** An entry stands where the leader is about to append. */
async function takenSlot(plant?: (request: object) => object) {
  const leadership = await engine.elect();
  await appendRange(engine, leadership, 1n, 1n);
  await cluster.etcd.etcdctl('put', `${cluster.prefix}/logs/7/0000000000000002`, 'of another');
  if (plant !== undefined) {
    proxy.intercept = (method, request, forward) =>
      forward(isAppend(method, request) ? plant(request) : request);
  }
  const outcome = await appendOne(engine, leadership, 2n);
  const key = `${cluster.prefix}/logs/7/0000000000000002`;
  const found = await cluster.etcd.etcdctl('get', '--print-value-only', key);
  return { outcome, isKept: found === 'of another\n', isLeader: !leadership.signal.aborted };
}

describe('the fence on the slot', () => {
  it('an append at an index that is taken is fenced and ends the leadership', async () => {
    const { outcome, isKept, isLeader } = await takenSlot();
    expect(outcome).toMatchObject({ outcome: 'fenced' });
    expect([isKept, isLeader]).toEqual([true, false]);
  });

  it('a planted fault, no compare of the slot, overwrites it', async () => {
    const { outcome, isKept } = await takenSlot(without(compareTarget.version));
    expect(outcome).toEqual({ outcome: 'done' });
    expect(isKept).toBe(false);
  });
});

/** The member answers reads of the latest state from an old one, as etcd 3.4.23 may. */
async function staleElection(plant?: (request: RangeRequest) => RangeRequest) {
  const rival = (await cluster.open({ nodeId: 'b' })).engine(7);
  const first = await rival.elect();
  await appendRange(rival, first, 1n, 2n);
  const old = first.term.toString();
  await appendRange(rival, first, 3n, 5n);
  await first.resign();
  proxy.intercept = (method, request, forward) => {
    if (method !== 'KV.Range') return forward(request);
    const range = plant?.(request as RangeRequest) ?? (request as RangeRequest);
    const isLatest = (range.revision ?? '0') === '0';
    return forward(isLatest ? { ...range, revision: old } : range);
  };
  const { headIndex } = await engine.elect();
  return headIndex;
}

describe('the head at an election', () => {
  it('HAZARD PROP-18: is that of the election, though the member reads stale', async () => {
    expect(await staleElection()).toBe(5n);
  });

  it('a planted fault, a plain read of the head, takes an old one', async () => {
    expect(await staleElection((range) => ({ ...range, revision: '0' }))).toBeLessThan(5n);
  });

  it('bounds and confirmation are not stale either', async () => {
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 3n);
    proxy.intercept = (method, request, forward) => {
      if (method !== 'KV.Range') return forward(request);
      const range = request as RangeRequest;
      const isLatest = (range.revision ?? '0') === '0';
      return forward(isLatest ? { ...range, revision: leadership.term.toString() } : range);
    };
    expect(await engine.bounds()).toEqual({ firstIndex: 1n, headIndex: 3n });
    expect(await leadership.confirm()).toBe(true);
    await cluster.etcd.etcdctl('del', `${cluster.prefix}/leaders/7`);
    expect(await leadership.confirm()).toBe(false);
    expect(leadership.signal.aborted).toBe(true);
  });
});

describe('an election whose answer is lost', () => {
  it('does not keep the shard without a leader', async () => {
    loseFirst(isElection, 'made');
    const leadership = await engine.elect();
    await appendRange(engine, leadership, 1n, 1n);
  });

  it('is undone though it was made after its candidate had given up', async () => {
    const rival = (await cluster.open({ nodeId: 'b' })).engine(7);
    const call = loseFirst(isElection, 'unmade');
    const stop = new AbortController();
    const candidacy = engine.elect(stop.signal, { yieldMs: () => (call.isLost() ? 60_000 : 0) });
    await until(() => call.isLost());
    stop.abort(new Error('no more'));
    await expect(candidacy).rejects.toThrow('no more');
    await call.makeLate();
    const leadership = await rival.elect();
    await appendRange(rival, leadership, 1n, 1n);
  });
});

describe('an append that meets a full etcd', () => {
  const full = { code: 8, details: 'etcdserver: mvcc: database space exceeded' };

  it('is done where it was carried out all the same', async () => {
    const leadership = await engine.elect();
    let isFull = true;
    proxy.intercept = async (method, request, forward) => {
      const answer = await forward(request);
      if (!isFull || !isAppend(method, request)) return answer;
      isFull = false;
      throw full;
    };
    expect(await appendOne(engine, leadership, 1n)).toEqual({ outcome: 'done' });
    expectEntries(await readAll(engine), 1n, 1n);
  });

  it('is refused, and the index is free', async () => {
    const leadership = await engine.elect();
    let isFull = true;
    proxy.intercept = async (method, request, forward) => {
      if (isFull && isAppend(method, request)) throw full;
      return forward(request);
    };
    const error = code('RAFTSEAL_ENGINE_NO_SPACE');
    expect(await appendOne(engine, leadership, 1n)).toEqual({ outcome: 'refused', error });
    expect(await readAll(engine)).toEqual([]);
    expect(leadership.signal.aborted).toBe(false);
    isFull = false;
    await until(() => !log.status().isLow);
    await appendRange(engine, leadership, 1n, 1n);
  });

  it('stays ambiguous where an earlier attempt may still come to be', async () => {
    const leadership = await engine.elect();
    const call = loseFirst(isAppend, 'unmade');
    expect(await appendOne(engine, leadership, 1n)).toMatchObject({ outcome: 'ambiguous' });
    proxy.intercept = async (method, request, forward) => {
      if (isAppend(method, request)) throw full;
      return forward(request);
    };
    expect(await appendOne(engine, leadership, 1n)).toMatchObject({ outcome: 'ambiguous' });
    await call.makeLate();
    expect(await appendOne(engine, leadership, 1n)).toEqual({ outcome: 'done' });
  });
});

describe('a keepalive', () => {
  it('does not count where another term of etcd agrees on the next write', async () => {
    const own = await cluster.open({
      nodeId: 'c',
      leaseTtlMs: 2_000,
      access: { endpoints: [proxy.endpoint] },
    });
    expect(own.session.isCurrent()).toBe(true);
    proxy.intercept = async (method, request, forward) => {
      const answer = await forward(request);
      if (method !== 'KV.DeleteRange') return answer;
      return { header: { revision: '1', raftTerm: '999' } };
    };
    await until(() => !own.session.isCurrent());
    proxy.intercept = undefined;
    await until(() => own.session.isCurrent());
  });
});
