/**
 * A sidecar for human eyes and `JSON.stringify`: what is in the file, without a key and without
 * key material. Wrapped DEKs show as length and a short digest, enough to tell two apart.
 */
import { createHash } from 'node:crypto';
import { codeOf, type KeyRecord, type KeyState } from '@raftseal/interface';
import { decodeSidecar, SIDECAR_FORMAT_VERSION, type UnverifiedSidecar } from './codec.ts';

export interface SidecarInspection {
  readonly formatVersion: number;
  readonly bytes: number;
  /** `not checked` where no MAC key was given: then nothing below is authenticated. */
  readonly mac: 'not checked' | 'valid' | 'invalid';
  readonly macDekId: number;
  /** Hexadecimal. */
  readonly clusterId: string;
  readonly nodeId: string;
  /** 64-bit quantities are decimal text. */
  readonly generation: string;
  readonly appliedIndex: Readonly<Record<string, string>>;
  readonly cutoverIndex: Readonly<Record<string, string>>;
  readonly cutoverIntent: { controlIndex: string; waves: readonly (readonly number[])[] } | null;
  readonly storageIndex: string | null;
  readonly sealedOnlyIndex: string | null;
  readonly activeDekId: Readonly<Record<string, number>>;
  /** Where the keys of the cluster come from: the index DEK itself, or what it seals. */
  readonly clusterKeys: 'derived' | 'sealed';
  readonly keys: readonly KeyInspection[];
  /** By DEK id: the control index of the retirement. */
  readonly retired: Readonly<Record<string, string>>;
  readonly writers: Readonly<Record<string, string>>;
  /** By backup id: the ids of the DEKs that it needs. */
  readonly backups: Readonly<Record<string, readonly number[]>>;
}

export interface KeyInspection {
  readonly dekId: number;
  readonly purpose: string;
  /** ISO 8601, or milliseconds where no date is that late. */
  readonly createdAt: string;
  readonly nonceEpoch: number;
  readonly wraps: readonly { kekUri: string; bytes: number; fingerprint: string }[];
}

/**
 * Describes a file's content.
 * @param macKey checks the MAC as well; see `deriveMacKey`.
 * @throws as `decodeSidecar` for bytes that are no sidecar; a wrong MAC is reported, not thrown.
 */
export function inspectSidecar(bytes: Uint8Array, macKey?: Uint8Array): SidecarInspection {
  const sidecar = decodeSidecar(bytes);
  const { state, macDekId } = sidecar;
  return {
    formatVersion: SIDECAR_FORMAT_VERSION,
    bytes: bytes.length,
    mac: macKey === undefined ? 'not checked' : checkMac(sidecar, macKey),
    macDekId,
    clusterId: Buffer.from(state.clusterId ?? []).toString('hex'),
    nodeId: state.nodeId,
    generation: `${state.generation}`,
    appliedIndex: decimals(state.appliedIndex),
    cutoverIndex: decimals(state.cutoverIndex),
    cutoverIntent: describeIntent(state),
    storageIndex: state.storageIndex === undefined ? null : `${state.storageIndex}`,
    sealedOnlyIndex: state.sealedOnlyIndex === undefined ? null : `${state.sealedOnlyIndex}`,
    activeDekId: { ...state.activeDekId },
    clusterKeys: state.sealedClusterKeys === undefined ? 'derived' : 'sealed',
    keys: [...state.keys].map(([dekId, record]) => describeKey(dekId, record)),
    retired: Object.fromEntries(
      [...state.retired].map(([dekId, { controlIndex }]) => [dekId, `${controlIndex}`]),
    ),
    writers: Object.fromEntries(state.writers),
    backups: Object.fromEntries([...state.backups].map(([id, { dekIds }]) => [id, dekIds])),
  };
}

function checkMac(sidecar: UnverifiedSidecar, macKey: Uint8Array): 'valid' | 'invalid' {
  try {
    sidecar.verify(macKey);
    return 'valid';
  } catch (error) {
    if (codeOf(error) === 'RAFTSEAL_SIDECAR_MAC') return 'invalid';
    throw error;
  }
}

function decimals(indexes: ReadonlyMap<number, bigint>): Record<string, string> {
  return Object.fromEntries([...indexes].map(([shardId, index]) => [shardId, `${index}`]));
}

function describeIntent({ cutoverIntent }: KeyState): SidecarInspection['cutoverIntent'] {
  if (cutoverIntent === undefined) return null;
  return { controlIndex: `${cutoverIntent.controlIndex}`, waves: cutoverIntent.waves };
}

function describeKey(dekId: number, record: KeyRecord): KeyInspection {
  const createdAt = new Date(record.createdAtMs);
  return {
    dekId,
    purpose: record.purpose,
    createdAt: Number.isNaN(createdAt.getTime())
      ? `${record.createdAtMs} ms`
      : createdAt.toISOString(),
    nonceEpoch: record.nonceEpoch,
    wraps: record.wraps.map(({ kekUri, bytes }) => ({
      kekUri,
      bytes: bytes.length,
      fingerprint: createHash('sha256').update(bytes).digest('hex').slice(0, 8),
    })),
  };
}
