/** What the leader of the control shard makes of what members say, and do not say. */
import { RaftsealError } from '@raftseal/interface';
import { describe, expect, it } from 'vitest';
import type { Attestation } from '../../src/sealed-only/attestation.ts';
import {
  type AskedMember,
  checkNothingLeft,
  sealedMembers,
} from '../../src/sealed-only/members.ts';
import { someReport } from '../admin/operations-double.ts';

const log = {
  shardId: 1,
  cutoverIndex: '3',
  firstIndex: '5',
  lastIndex: '9',
  cleartextData: 0,
  cleartextKeyLifecycle: 0,
  sealed: { 17: 5 },
};

function attestation(nodeId: string, changes: Partial<Attestation> = {}): Attestation {
  const report = { ...someReport, logs: [log] };
  const clusterId = '00112233445566778899aabbccddeeff';
  return {
    nodeId,
    clusterId,
    release: '1.2.3',
    sealedOnlyIndex: null,
    left: [],
    report,
    ...changes,
  };
}

function member(nodeId: string, answer: () => unknown = () => attestation(nodeId)): AskedMember {
  const ask = async (): Promise<unknown> => answer();
  return { nodeId, role: 'voter', isInReach: true, attest: ask, cleartextLeft: ask };
}

const refusal = (...lines: string[]) => ({
  code: 'RAFTSEAL_NODE_CLEARTEXT_LEFT',
  message: expect.stringContaining(`${lines.length} obstacles: ${lines.join('; ')}`),
});

describe('the members of a cluster that is sealed throughout', () => {
  it('are given with what they have found, by their ids', async () => {
    const found = await sealedMembers([member('node-2'), member('node-1')]);
    expect(found.map(({ attestation: { nodeId } }) => nodeId)).toEqual(['node-1', 'node-2']);
    await checkNothingLeft([member('node-1')]);
  });

  it('are none while one of them has something left; each thing is named once', async () => {
    const report = {
      ...someReport,
      clean: false,
      problems: ['core.1: not a file of raftseal'],
      cleartext: ['store of shard 1: 2 rows'],
      logs: [{ ...log, cleartextKeyLifecycle: 3 }],
    };
    const left = ['store of shard 1: 2 rows'];
    const bad = member('node-1', () => attestation('node-1', { report, left }));
    await expect(sealedMembers([member('node-2'), bad])).rejects.toMatchObject(
      refusal(
        'node-1: core.1: not a file of raftseal',
        'node-1: shard 1: 3 key-lifecycle entries in the clear',
        'node-1: store of shard 1: 2 rows',
      ),
    );
    await expect(checkNothingLeft([bad])).rejects.toMatchObject(
      refusal('node-1: store of shard 1: 2 rows'),
    );
  });

  it('are none while one is not in reach, and then nobody reads anything', async () => {
    const asked: string[] = [];
    const here = member('node-1', () => asked.push('node-1'));
    const gone = { ...member('node-2'), isInReach: false };
    await expect(sealedMembers([here, gone])).rejects.toMatchObject(
      refusal('node-2: not in reach'),
    );
    expect(asked).toEqual([]);
  });

  it('are none while one does not answer, is another node, or answers nonsense', async () => {
    const gone = member('node-1', () => {
      throw new RaftsealError('RAFTSEAL_NODE_PEER_UNAVAILABLE', 'not in reach');
    });
    const other = member('node-2', () => attestation('node-9'));
    for (const ask of [sealedMembers, checkNothingLeft]) {
      await expect(ask([gone, other])).rejects.toMatchObject(
        refusal(
          'node-1: not known (RAFTSEAL_NODE_PEER_UNAVAILABLE: not in reach)',
          'node-2: not known (RAFTSEAL_NODE_PEER_REPLY: expected node-2 at its address; node-9 answers there)',
        ),
      );
    }
    const whole = attestation('node-3');
    const { report } = whole;
    const nonsense: readonly unknown[] = [
      undefined,
      null,
      [],
      {},
      { ...whole, left: [1] },
      { ...whole, release: 5 },
      { ...whole, sealedOnlyIndex: 5 },
      { ...whole, report: null },
      { ...whole, report: { ...report, problems: 'none' } },
      { ...whole, report: { ...report, clean: false } },
      { ...whole, report: { ...report, problems: ['something'] } },
      { ...whole, report: { ...report, logs: [{ ...log, cleartextData: -1 }] } },
      { ...whole, report: { ...report, logs: [{ ...log, sealed: { x: 1 } }] } },
      { ...whole, report: { ...report, logs: [{ ...log, sealed: { 1: '1' } }] } },
      { ...whole, report: { ...report, stores: [{ shardId: 1 }] } },
      { ...whole, report: { ...report, files: [{ path: 'a', bytes: 1.5, content: 'store' }] } },
    ];
    for (const answer of nonsense) {
      await expect(sealedMembers([member('node-3', () => answer)])).rejects.toMatchObject({
        code: 'RAFTSEAL_NODE_CLEARTEXT_LEFT',
        message: expect.stringContaining('node-3: not known (RAFTSEAL_NODE_PEER_REPLY'),
      });
    }
  });

  it('are described by the first obstacles where there are many', async () => {
    const left = Array.from({ length: 30 }, (_, n) => `shard ${n}: 1 rows`);
    const bad = member('node-1', () => attestation('node-1', { left }));
    await expect(checkNothingLeft([bad])).rejects.toThrow(/30 obstacles: .*; and 10 more$/);
  });
});
