import { encodeEntry, type KeyLifecycleEntry, type NonceClaim } from '@raftseal/applier';
import { decodeNonce, type NonceParts } from '@raftseal/envelope';
import { KIND_DATA, KIND_KEY_LIFECYCLE } from '@raftseal/shard-group';
import { describe, expect, it } from 'vitest';
import { SealAuthority } from '../src/seal-authority.ts';

const DEK_ID = 0xfedcba98;
const prefix = { writerId: 5, nonceEpoch: 3 };
const claim: NonceClaim = { ...prefix, claimId: new Uint8Array(16).fill(7) };
const { claimId } = claim;
const own = { kind: 'register', nodeId: 'a', dekId: DEK_ID, epoch: 3, claimId } as const;

const REFUSAL = expect.objectContaining({ code: 'RAFTSEAL_NODE_WRITER_NOT_REGISTERED' });

/** An authority over one claim, of which a test says whether it is registered. */
function authorityOver(claims: { current: NonceClaim | undefined; registered: boolean }) {
  return new SealAuthority({
    nodeId: 'a',
    keyLifecycle: {
      claimOf: (dekId) => (dekId === DEK_ID ? claims.current : undefined),
      isRegistered: (dekId) => dekId === DEK_ID && claims.registered,
    },
  });
}

function body(entry: KeyLifecycleEntry): Buffer {
  return Buffer.concat([Buffer.from([KIND_KEY_LIFECYCLE]), encodeEntry(entry)]);
}

const text = (_key: string, value: unknown): unknown =>
  typeof value === 'bigint' ? `${value}` : value;

function drawn(authority: SealAuthority, entry?: Buffer): NonceParts {
  const nonce = new Uint8Array(12);
  authority.nonces(DEK_ID, entry).draw(nonce, 0);
  return decodeNonce(nonce);
}

describe('a process that is not registered', () => {
  const unregistered = (): SealAuthority => authorityOver({ current: claim, registered: false });

  it('may seal its own registration, under the claimed epoch', () => {
    expect(drawn(unregistered(), body(own))).toMatchObject(prefix);
  });

  it('invariant 3: seals it with a nonce that no other process of this node repeats', () => {
    const first = unregistered();
    const nonces = [first, first, unregistered()].map((authority) => drawn(authority, body(own)));
    expect(new Set(nonces.map((nonce) => JSON.stringify(nonce, text))).size).toBe(3);
    for (const { counter } of nonces) expect(counter >= 2n ** 63n).toBe(true);
  });

  it('invariant 3: counts from 1 once it is registered, whatever it sealed before', () => {
    const claims = { current: claim, registered: false };
    const authority = authorityOver(claims);
    drawn(authority, body(own));
    claims.registered = true;
    expect([drawn(authority), drawn(authority, body(own))]).toEqual([
      { ...prefix, counter: 1n },
      { ...prefix, counter: 2n },
    ]);
  });

  const others: readonly (readonly [string, KeyLifecycleEntry])[] = [
    ['of another node', { ...own, nodeId: 'b' }],
    ['under another key', { ...own, dekId: DEK_ID - 1 }],
    ['of a lower epoch', { ...own, epoch: 2 }],
    ['of a higher epoch', { ...own, epoch: 4 }],
    ['of another claim', { ...own, claimId: new Uint8Array(16).fill(8) }],
    ['that nobody claimed', { ...own, claimId: undefined }],
  ];

  it.each(others)('may seal no registration %s', (_, entry) => {
    expect(() => unregistered().nonces(DEK_ID, body(entry))).toThrow(REFUSAL);
  });

  it('may seal no other key-lifecycle entry', () => {
    const key = { dekId: 8, wraps: [{ kekUri: 'file:/k', bytes: Buffer.alloc(60) }] };
    const entries: readonly KeyLifecycleEntry[] = [
      { kind: 'enable-storage', dekId: DEK_ID },
      { kind: 'enable-raft', dekId: DEK_ID, controlIndex: 0n, waves: [] },
      { kind: 'rotate-dek', purpose: 'raft', createdAtMs: 1, ...key },
    ];
    for (const entry of entries) {
      expect(() => unregistered().nonces(DEK_ID, body(entry))).toThrow(REFUSAL);
    }
  });

  it('may seal no data, not even data that looks like its registration', () => {
    const disguised = body(own);
    disguised[0] = KIND_DATA;
    for (const data of [disguised, Buffer.alloc(0), undefined]) {
      expect(() => unregistered().nonces(DEK_ID, data)).toThrow(REFUSAL);
    }
  });

  it('may seal nothing where it has claimed no epoch', () => {
    const authority = authorityOver({ current: undefined, registered: false });
    expect(() => authority.nonces(DEK_ID, body(own))).toThrow(REFUSAL);
    const elsewhere = authorityOver({ current: claim, registered: true });
    expect(() => elsewhere.nonces(DEK_ID - 1, body(own))).toThrow(REFUSAL);
  });
});

describe('a process that is registered', () => {
  it('may seal anything', () => {
    const authority = authorityOver({ current: claim, registered: true });
    for (const entry of [undefined, Buffer.from([KIND_DATA]), body({ ...own, nodeId: 'b' })]) {
      expect(drawn(authority, entry)).toMatchObject(prefix);
    }
  });

  it('HAZARD NON-07: draws from one sequence per key, whoever asks, and counts the seals', () => {
    const authority = authorityOver({ current: claim, registered: true });
    expect(authority.seals(DEK_ID)).toBe(0n);
    const counters = [1, 2, 3].map(() => drawn(authority));
    expect(counters).toEqual([1n, 2n, 3n].map((counter) => ({ ...prefix, counter })));
    expect(authority.seals(DEK_ID)).toBe(3n);
    expect(authority.seals(DEK_ID - 1)).toBe(0n);
  });

  it('begins a new sequence only with a new epoch', () => {
    const claims = { current: claim, registered: false };
    const authority = authorityOver(claims);
    drawn(authority, body(own));
    claims.registered = true;
    expect(drawn(authority)).toEqual({ ...prefix, counter: 1n });
    claims.current = { ...claim, nonceEpoch: 4 };
    expect(drawn(authority)).toEqual({ ...prefix, nonceEpoch: 4, counter: 1n });
  });

  it('that lost its claim may seal nothing any more', () => {
    const claims: { current: NonceClaim | undefined; registered: boolean } = {
      current: claim,
      registered: true,
    };
    const authority = authorityOver(claims);
    drawn(authority);
    claims.current = undefined;
    expect(() => authority.nonces(DEK_ID)).toThrow(REFUSAL);
  });
});
