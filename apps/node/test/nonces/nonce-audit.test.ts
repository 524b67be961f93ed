/** What an audit says of members whose records and evidence a test makes up. */
import { fatalError, RaftsealError } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import type { NonceEvidence } from '../../src/nonces/evidence.ts';
import { type AuditMember, auditNonces } from '../../src/nonces/nonce-audit.ts';
import type { Place } from '../../src/nonces/nonce-record.ts';
import type { NonceFinding } from '../../src/nonces/report.ts';
import { type MadeEnvelope, recordsOf } from './records.ts';

const RAFT = 7;
const STORAGE = 8;
const RETIRED = 9;
const log: Place = { kind: 'log', shardId: 2 };
const store: Place = { kind: 'store', shardId: 3 };

const evidence: NonceEvidence = {
  nodeId: 'a',
  clusterId: '00'.repeat(16),
  logPlace: 'etcd',
  isAuthenticated: true,
  writers: [
    { writerId: 1, nodeId: 'a' },
    { writerId: 2, nodeId: 'b' },
  ],
  keys: [
    { dekId: RAFT, purpose: 'raft', isRetired: false, nonceEpoch: 3 },
    { dekId: STORAGE, purpose: 'storage', isRetired: false, nonceEpoch: 3 },
    { dekId: RETIRED, purpose: 'raft', isRetired: true, nonceEpoch: 0 },
  ],
  rows: [
    { dekId: RAFT, writerId: 1, firstEpoch: 1, lastEpoch: 3 },
    { dekId: RAFT, writerId: 2, firstEpoch: 2, lastEpoch: 2 },
    { dekId: STORAGE, writerId: 1, firstEpoch: 1, lastEpoch: 3 },
  ],
  drawn: [],
};

interface Found {
  readonly place: Place;
  readonly envelopes: readonly MadeEnvelope[];
}

function member(found: readonly Found[], changes: Partial<NonceEvidence> = {}): AuditMember {
  const own = { ...evidence, ...changes };
  return {
    nodeId: own.nodeId,
    directory: null,
    reads: 'log and stores',
    records: async function* (part) {
      for (const { place, envelopes } of found) yield* recordsOf(envelopes, { part, place });
    },
    evidence: async () => own,
  };
}

async function findingsOf(
  found: readonly Found[],
  changes: Partial<NonceEvidence> = {},
): Promise<readonly NonceFinding[]> {
  const { findings, findingCount, clean } = await auditNonces([member(found, changes)]);
  expect([findingCount, clean]).toEqual([findings.length, findings.length === 0]);
  return findings;
}

function inLog(...envelopes: MadeEnvelope[]): Found {
  return { place: log, envelopes: envelopes.map((each) => ({ dekId: RAFT, ...each })) };
}

function inStore(...envelopes: MadeEnvelope[]): Found {
  return { place: store, envelopes: envelopes.map((each) => ({ dekId: STORAGE, ...each })) };
}

describe('an audit of nonces', () => {
  it('finds nothing in what is registered', async () => {
    const found = [
      inLog({ counter: 1n }, { counter: 2n }, { counter: 1n, writerId: 2, nonceEpoch: 2 }),
      inLog({ counter: 1n << 63n, nonceEpoch: 4 }),
      inStore({ counter: 4n, nonceEpoch: 3 }, { counter: 4n, nonceEpoch: 3 }),
      inLog({ counter: 4n, dekId: RETIRED, nonceEpoch: 9 }),
    ];
    const report = await auditNonces([member(found)]);
    expect(report).toMatchObject({ clean: true, envelopes: 7, copies: 1, passes: 1, findings: [] });
    expect(report.ranges[0]).toEqual({
      dekId: RAFT,
      purpose: 'raft',
      writerId: 1,
      nodeId: 'a',
      nonceEpoch: 1,
      envelopes: 2,
      lowest: 1,
      highest: 2,
      registrations: 0,
    });
    expect(report.ranges.at(1)).toMatchObject({ nonceEpoch: 4, lowest: null, registrations: 1 });
  });

  it('invariant 3: names a nonce with two envelopes, and where they are', async () => {
    const found = [inLog({ counter: 17n }), inLog({ counter: 17n, tag: 1 })];
    expect(await findingsOf(found)).toEqual([
      {
        code: 'nonce-reused',
        text:
          'DEK 7 (raft), writer 1 (a), epoch 1, counter 17: two different envelopes, in the log of ' +
          'shard 2 of a and in the log of shard 2 of a',
      },
    ]);
  });

  it('names a nonce that two members have used', async () => {
    const members = [
      member([inStore({ counter: 5n })]),
      member([inStore({ counter: 5n, tag: 9 })], { nodeId: 'b' }),
    ];
    const { findings } = await auditNonces(members);
    expect(findings).toMatchObject([{ code: 'nonce-reused' }]);
    expect(findings[0]?.text).toMatch(/store of shard 3 of a and in the store of shard 3 of b$/);
  });

  it.each<[code: string, found: Found, text: RegExp]>([
    ['dek-unknown', inLog({ counter: 1n, dekId: 99 }), /^DEK 99 \(unknown\)/],
    ['wrong-purpose', inLog({ counter: 1n, dekId: STORAGE }), /found in a log/],
    ['wrong-purpose', inStore({ counter: 1n, dekId: RAFT }), /found in a store/],
    ['writer-unknown', inLog({ counter: 1n, writerId: 3 }), /writer 3 \(nobody\)/],
    ['writer-unregistered', inStore({ counter: 1n, writerId: 2 }), /no registration/],
    ['epoch-unregistered', inLog({ counter: 1n, writerId: 2, nonceEpoch: 1 }), /epochs 2 to 2/],
    ['epoch-unregistered', inLog({ counter: 1n, writerId: 2, nonceEpoch: 3 }), /epochs 2 to 2/],
    ['counter-impossible', inLog({ counter: 0n }), /from 0 to 0/],
    ['counter-impossible', inLog({ counter: (1n << 32n) + 1n }), /end at 4294967296/],
    ['counter-impossible', inStore({ counter: 1n << 63n }), /registrations are log entries/],
  ])('finds %s: %o', async (code, found, text) => {
    const findings = await findingsOf([found]);
    expect(findings).toMatchObject([{ code }]);
    expect(findings[0]?.text).toMatch(text);
  });

  it('finds an epoch that the sidecar of its own node does not know', async () => {
    const keys = evidence.keys.map((key) => ({ ...key, nonceEpoch: 2 }));
    const rows = [{ dekId: RAFT, writerId: 1, firstEpoch: 1, lastEpoch: 2 }];
    const behind = { keys, rows, nodeId: 'a' };
    const members = [
      member([inLog({ counter: 1n, nonceEpoch: 3 })], behind),
      member([], { nodeId: 'b' }),
    ];
    expect((await auditNonces(members)).findings).toMatchObject([{ code: 'epoch-behind' }]);
  });

  it('finds a registry that is ahead of the sidecar beside it', async () => {
    const keys = evidence.keys.map((key) => ({ ...key, nonceEpoch: 2 }));
    expect(await findingsOf([], { keys })).toMatchObject([
      { code: 'epoch-behind', text: expect.stringContaining('DEK 7') },
      { code: 'epoch-behind', text: expect.stringContaining('DEK 8') },
    ]);
  });

  it('finds a counter that the process which has the epoch has not drawn', async () => {
    const drawn = [{ dekId: RAFT, nonceEpoch: 3, counter: 41 }];
    expect(await findingsOf([inLog({ counter: 41n, nonceEpoch: 3 })], { drawn })).toEqual([]);
    const ahead = await findingsOf([inLog({ counter: 42n, nonceEpoch: 3 })], { drawn });
    expect(ahead).toMatchObject([{ code: 'counter-ahead' }]);
  });

  it('finds another writer in a log that one node alone writes, and not in its store', async () => {
    const alone = { logPlace: 'embedded' as const };
    const foreign = { counter: 1n, writerId: 2, nonceEpoch: 2 };
    expect(await findingsOf([inLog(foreign)], alone)).toMatchObject([{ code: 'writer-foreign' }]);
    const row = { dekId: STORAGE, writerId: 2, firstEpoch: 2, lastEpoch: 2 };
    const rows = [...evidence.rows, row];
    expect(await findingsOf([inStore(foreign)], { ...alone, rows })).toEqual([]);
  });

  it('finds one writer id that is of two nodes', async () => {
    const writers = [{ writerId: 2, nodeId: 'c' }];
    const { findings } = await auditNonces([member([]), member([], { nodeId: 'c', writers })]);
    expect(findings).toMatchObject([{ code: 'writer-conflict' }]);
  });

  it('finds what is no envelope', async () => {
    const found = [inLog({ counter: 1n, dekId: 0 }, { counter: 2n, dekId: 0 })];
    expect(await findingsOf(found)).toEqual([
      {
        code: 'unreadable',
        text: 'log of shard 2 of a: 2 that are no envelopes; `verify` names them',
      },
    ]);
  });

  it('says who was not there, and ends where it is the node that asks', async () => {
    const gone: AuditMember = {
      ...member([], { nodeId: 'b' }),
      records: () => {
        throw new RaftsealError('RAFTSEAL_NODE_PEER_UNAVAILABLE', 'gone');
      },
    };
    const report = await auditNonces([member([inLog({ counter: 1n })]), gone]);
    expect(report.members.map(({ read }) => read)).toEqual(['log and stores', 'nothing']);
    expect(report.findings).toMatchObject([{ code: 'member-missing' }]);
    await expect(auditNonces([gone])).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_PEER_UNAVAILABLE',
    });
    const broken: AuditMember = {
      ...member([], { nodeId: 'b' }),
      evidence: async () => {
        throw fatalError('RAFTSEAL_NODE_REGISTRY_CORRUPT', 'damaged');
      },
    };
    const { findings } = await auditNonces([member([]), broken]);
    expect(findings).toMatchObject([{ code: 'member-missing' }]);
  });

  it('refuses nodes of two clusters', async () => {
    const other = member([], { nodeId: 'b', clusterId: '11'.repeat(16) });
    await expect(auditNonces([member([]), other])).rejects.toMatchObject({
      code: 'RAFTSEAL_NODE_FOREIGN_CLUSTER',
    });
  });

  it('says the same in many passes as in one, whatever the memory', async () => {
    const counters = Array.from({ length: 20_000 }, (_, n) => BigInt(n + 1));
    const found = [
      inLog(...counters.map((counter) => ({ counter, tag: Number(counter) }))),
      inLog({ counter: 15_000n, tag: 1 }, { counter: 7n, tag: 7 }),
      inStore({ counter: 3n, nonceEpoch: 4 }),
      inLog({ counter: 1n, dekId: 0 }),
    ];
    const { passes: one, ...whole } = await auditNonces([member(found)]);
    const { passes: many, ...parts } = await auditNonces([member(found)], { recordsMax: 2_500 });
    expect(one).toBe(1);
    expect(many).toBeGreaterThanOrEqual(16);
    expect(parts).toEqual(whole);
    expect(whole).toMatchObject({ envelopes: 20_003, copies: 1, findingCount: 4 });
  });
});
