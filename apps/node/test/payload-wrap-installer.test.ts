import { decodeEnvelope, Keyring, NonceSequence, RaftSeal } from '@raftseal/envelope';
import { RaftsealError } from '@raftseal/interface';
import { KIND_DATA, type RaftPayloadWrap, type SealedWrap } from '@raftseal/shard-group';
import { describe, expect, it } from 'vitest';
import { PayloadWrapInstaller, type WrapSlot } from '../src/payload-wrap-installer.ts';
import { SealAuthority } from '../src/seal-authority.ts';
import { leadingKeyNode, newCluster, propose, until } from './key-world.ts';

const clusterId = Buffer.alloc(16, 0xc1);
const DEK_ID = 7;
const NEXT_DEK_ID = 8;
const install = { shardId: 2, cutoverIndex: 10n, dekId: DEK_ID };

class Slot implements WrapSlot {
  readonly shardId: number;
  readonly wraps: RaftPayloadWrap[] = [];

  constructor(shardId: number) {
    this.shardId = shardId;
  }

  setRaftPayloadWrap(wrap: RaftPayloadWrap): void {
    this.wraps.push(wrap);
  }
}

function newInstaller(registered = true) {
  const keyring = new Keyring();
  for (const dekId of [DEK_ID, NEXT_DEK_ID]) {
    keyring.add(dekId, 'raft', Buffer.alloc(32, dekId));
  }
  const raftSeal = new RaftSeal({ clusterId, keyring });
  const authority = new SealAuthority({
    nodeId: 'a',
    keyLifecycle: {
      claimOf: () => ({ writerId: 1, nonceEpoch: 1, claimId: new Uint8Array(16) }),
      isRegistered: () => registered,
    },
  });
  const installer = new PayloadWrapInstaller({
    authority: () => authority,
    raftSeal: () => raftSeal,
  });
  return { installer, raftSeal, keyring, authority };
}

function sealedWrapOf(installer: PayloadWrapInstaller, shardId = install.shardId): SealedWrap {
  const wrap = installer.wrapOf(shardId);
  if (wrap.kind !== 'sealed') throw new Error(`shard ${shardId} is sealed`);
  return wrap;
}

describe('the installer', () => {
  it('gives a shard that is not cut over the wrap of that name', () => {
    const { installer } = newInstaller();
    const slot = new Slot(2);
    installer.attach(slot);
    expect(installer.wrapOf(2)).toEqual({ kind: 'cleartext' });
    expect(slot.wraps).toEqual([{ kind: 'cleartext' }]);
  });

  it('invariant 4: gives a group its wrap the moment it is installed, and no other group', () => {
    const { installer } = newInstaller();
    const slots = [new Slot(1), new Slot(2)];
    for (const slot of slots) installer.attach(slot);
    installer.install(install);
    expect(slots[0]?.wraps).toHaveLength(1);
    expect(slots[1]?.wraps.at(-1)).toBe(installer.wrapOf(2));
    expect(installer.wrapOf(2)).toMatchObject({
      kind: 'sealed',
      cutoverIndex: 10n,
      dekId: DEK_ID,
    });
    expect(installer.wrapOf(1)).toEqual({ kind: 'cleartext' });
  });

  it('HAZARD WRAP-20: gives a group that is attached late the latest wrap', () => {
    const { installer } = newInstaller();
    installer.install(install);
    installer.install({ ...install, dekId: NEXT_DEK_ID });
    const slot = new Slot(2);
    installer.attach(slot);
    expect(slot.wraps).toEqual([installer.wrapOf(2)]);
    expect(slot.wraps[0]).toMatchObject({ dekId: NEXT_DEK_ID });
  });

  it('seals under the key it was installed with, bound to shard and index', () => {
    const { installer, raftSeal } = newInstaller();
    installer.install(install);
    const body = Buffer.from('body');
    const payload = sealedWrapOf(installer).seal(body, 11n, 1);
    const envelope = payload.subarray(1);
    expect(payload[0]).toBe(0);
    expect(decodeEnvelope(envelope).dekId).toBe(DEK_ID);
    expect(Buffer.from(raftSeal.open({ shardId: 2, index: 11n }, envelope))).toEqual(body);
    for (const place of [
      { shardId: 2, index: 12n },
      { shardId: 1, index: 11n },
    ]) {
      expect(() => raftSeal.open(place, envelope)).toThrow(
        expect.objectContaining({ code: 'RAFTSEAL_ENVELOPE_INTEGRITY' }),
      );
    }
  });

  it('HAZARD WRAP-12: draws a fresh nonce for each seal, also of the same body again', () => {
    const { installer } = newInstaller();
    installer.install(install);
    const wrap = sealedWrapOf(installer);
    const nonces = [1, 2, 3].map(() => {
      const { nonce } = decodeEnvelope(wrap.seal(Buffer.from('body'), 11n, 0));
      return Buffer.from(nonce).toString('hex');
    });
    expect(new Set(nonces).size).toBe(3);
  });

  it('HAZARD NON-07: draws the nonces of all shards from one sequence', () => {
    const { installer, authority } = newInstaller();
    installer.install(install);
    installer.install({ ...install, shardId: 3 });
    for (const shardId of [2, 3, 2]) {
      sealedWrapOf(installer, shardId).seal(Buffer.from('body'), 11n, 0);
    }
    expect(authority.seals(DEK_ID)).toBe(3n);
  });

  it('opens what is under an older key after a rotation', () => {
    const { installer } = newInstaller();
    installer.install(install);
    const before = sealedWrapOf(installer).seal(Buffer.from('before'), 11n, 0);
    installer.install({ ...install, dekId: NEXT_DEK_ID });
    const rotated = sealedWrapOf(installer);
    expect(decodeEnvelope(rotated.seal(Buffer.from('after'), 12n, 0)).dekId).toBe(NEXT_DEK_ID);
    expect(rotated.open(before, 11n).toString()).toBe('before');
  });

  it('installs a wrap that refuses to seal while the process is not registered, and opens', () => {
    const { installer, raftSeal } = newInstaller(false);
    installer.install(install);
    const wrap = sealedWrapOf(installer);
    expect(() => wrap.seal(Buffer.from([KIND_DATA]), 11n, 0)).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_NODE_WRITER_NOT_REGISTERED' }),
    );
    const nonces = new NonceSequence({ writerId: 2, nonceEpoch: 1 });
    const place = { shardId: 2, index: 11n };
    const foreign = raftSeal.seal({ dekId: DEK_ID, ...place, nonces }, Buffer.from('of another'));
    expect(wrap.open(foreign, 11n).toString()).toBe('of another');
  });

  it('fails an install, rather than to install nothing, where there is no cluster yet', () => {
    const { authority } = newInstaller();
    const installer = new PayloadWrapInstaller({
      authority: () => authority,
      raftSeal: () => {
        throw new RaftsealError('RAFTSEAL_NODE_NOT_BOOTSTRAPPED', 'no cluster');
      },
    });
    expect(() => installer.install(install)).toThrow(
      expect.objectContaining({ code: 'RAFTSEAL_NODE_NOT_BOOTSTRAPPED' }),
    );
    expect(installer.wrapOf(2)).toEqual({ kind: 'cleartext' });
  });
});

describe('a node that starts with shards that are cut over', () => {
  it('invariant 4: has their wraps before it stands for election', async () => {
    const cluster = newCluster(['a'], [0, 1]);
    const first = await leadingKeyNode({ cluster, shardIds: [0, 1] });
    await first.operations.enableEncryption();
    await until(() => first.groups.every(({ wrap }) => wrap.kind === 'sealed'));
    await first.stop();
    const { directory, keys } = first;
    const { keks } = keys;
    const again = await leadingKeyNode({ cluster, shardIds: [0, 1], directory, keks });
    for (const group of again.groups) {
      const cutoverIndex = keys.state.cutoverIndex.get(group.shardId);
      const dekId = keys.state.activeDekId.raft;
      expect(group.wrap).toMatchObject({ kind: 'sealed', cutoverIndex, dekId });
      expect(await propose(group, 'early')).toBe('RAFTSEAL_NODE_WRITER_NOT_REGISTERED');
    }
  });
});
