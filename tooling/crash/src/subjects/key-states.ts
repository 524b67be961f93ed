/** Key states of a cluster that is sealed: what a sidecar holds, one for each generation. */
import { createHash } from 'node:crypto';
import type { KeyPurpose, KeyRecord, KeyState } from '@raftseal/interface';
import { deriveMacKey, type SidecarMac } from '@raftseal/sidecar';

const deks: Readonly<Record<KeyPurpose, number>> = { storage: 1, raft: 2, index: 3 };

export const mac: SidecarMac = {
  dekId: deks.raft,
  macKey: deriveMacKey(new Uint8Array(32).fill(9)),
};

/** About 20,000 bytes on disk: more than one page. */
const WRAPS = 20;

function bytesOf(text: string, byteLength: number): Uint8Array {
  const parts: Buffer[] = [];
  for (let at = 0; at * 32 < byteLength; at++) {
    parts.push(createHash('sha256').update(`${text} ${at}`).digest());
  }
  return new Uint8Array(Buffer.concat(parts).subarray(0, byteLength));
}

/** Differs from that of any other generation in nearly every byte. */
export function stateOf(generation: bigint): KeyState {
  const record = (purpose: KeyPurpose): KeyRecord => ({
    purpose,
    wraps: Array.from({ length: WRAPS }, (_, at) => ({
      kekUri: `test:${at}`,
      bytes: bytesOf(`${generation} ${purpose} ${at}`, 300),
    })),
    createdAtMs: 1_760_000_000_000,
    nonceEpoch: 1,
  });
  const purposes: readonly KeyPurpose[] = ['storage', 'raft', 'index'];
  return {
    clusterId: new Uint8Array(16).fill(7),
    nodeId: 'node-a',
    generation,
    appliedIndex: new Map([[0, generation]]),
    cutoverIndex: new Map([[0, 1n]]),
    cutoverIntent: { controlIndex: 1n, waves: [[0]] },
    storageIndex: 1n,
    sealedOnlyIndex: undefined,
    activeDekId: deks,
    keys: new Map(purposes.map((purpose) => [deks[purpose], record(purpose)])),
    sealedClusterKeys: undefined,
    retired: new Map(),
    writers: new Map([[1, 'node-a']]),
    backups: new Map(),
  };
}
