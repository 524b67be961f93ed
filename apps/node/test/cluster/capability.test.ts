/** A node is asked to show that it has the KEK; what it says of itself counts for nothing. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codeOf } from '@raftseal/interface';
import { beforeAll, describe, expect, it } from 'vitest';
import { checkCapability, proveCapability } from '../../src/cluster/capability.ts';
import { KekSet } from '../../src/kek-set.ts';
import type { CapabilityChallenge, CapabilityProof } from '../../src/peer/operations.ts';

let keks: KekSet;
let same: KekSet;
let other: KekSet;

beforeAll(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'raftseal-'));
  const key = randomBytes(32);
  const kekOf = async (name: string, bytes: Buffer): Promise<KekSet> => {
    const path = join(directory, name);
    await writeFile(path, bytes, { mode: 0o600 });
    return KekSet.open([`file:${path}`]);
  };
  [keks, same, other] = await Promise.all([
    kekOf('a', key),
    kekOf('b', key),
    kekOf('c', randomBytes(32)),
  ]);
  await rm(directory, { recursive: true });
});

function refusal(ask: (challenge: CapabilityChallenge) => Promise<CapabilityProof>) {
  return checkCapability('node-b', keks, ask).then(
    () => undefined,
    (error: unknown) => ({ code: codeOf(error), text: String(error) }),
  );
}

describe('a member is capable', () => {
  it('where it has the same KEK, wherever that is kept', async () => {
    const ask = (challenge: CapabilityChallenge) =>
      proveCapability({ nodeId: 'node-b', keks: same }, challenge);
    expect(await refusal(ask)).toBeUndefined();
  });

  it('and not with another KEK, or none, or out of reach; it is named', async () => {
    for (const [answer, reason] of [
      [{ nodeId: 'node-b', keks: other }, 'RAFTSEAL_KEK_MISMATCH'],
      [{ nodeId: 'node-b', keks: KekSet.of() }, 'RAFTSEAL_NODE_KEK_REQUIRED'],
      [{ nodeId: 'node-c', keks: same }, 'node-c answers at its address'],
    ] as const) {
      const found = await refusal((challenge) => proveCapability(answer, challenge));
      expect(found?.code).toBe('RAFTSEAL_NODE_MEMBER_INCAPABLE');
      expect(found?.text).toContain('expected node-b');
      expect(found?.text).toContain(reason);
    }
    const silent = await refusal(() => Promise.reject(new Error('no answer')));
    expect(silent?.code).toBe('RAFTSEAL_NODE_MEMBER_INCAPABLE');
  });

  it('and not with a proof that is another one’s, of another time, or of another format', async () => {
    let earlier: CapabilityProof | undefined;
    await checkCapability('node-b', keks, async (challenge) => {
      earlier = await proveCapability({ nodeId: 'node-b', keks: same }, challenge);
      return earlier;
    });
    const proofs: readonly ((proof: CapabilityProof) => CapabilityProof)[] = [
      () => earlier as CapabilityProof,
      (proof) => ({ ...proof, mac: proof.mac.map((byte) => byte ^ 1) }),
      (proof) => ({ ...proof, mac: proof.mac.subarray(1) }),
      (proof) => ({ ...proof, formatVersion: 2 }),
    ];
    for (const forge of proofs) {
      const found = await refusal(async (challenge) =>
        forge(await proveCapability({ nodeId: 'node-b', keks: same }, challenge)),
      );
      expect(found?.code).toBe('RAFTSEAL_NODE_MEMBER_INCAPABLE');
    }
  });

  it('and nothing is unwrapped for who asks about a cluster’s own keys', async () => {
    const binding = { clusterId: randomBytes(16), dekId: 7, purpose: 'raft' } as const;
    const wraps = await keks.wrap(randomBytes(32), binding);
    const challenge = { binding, wraps, nonce: randomBytes(32) };
    const proof = proveCapability({ nodeId: 'node-b', keks: same }, challenge);
    await expect(proof).rejects.toMatchObject({ code: 'RAFTSEAL_NODE_BAD_REQUEST' });
  });
});
