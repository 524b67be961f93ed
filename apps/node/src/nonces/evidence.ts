/**
 * What a node knows of who may have sealed what: against it an audit holds the nonces that were
 * found. Taken after the last envelope was read: whatever was sealed was registered before.
 */
import {
  type KeyPurpose,
  type KeyState,
  NONCE_EPOCH_MAX,
  type WriterRow,
} from '@raftseal/interface';
import type { LogPlace } from '../data-directory.ts';
import type { Fields } from '../peer/fields.ts';

export interface KeyEvidence {
  readonly dekId: number;
  readonly purpose: KeyPurpose;
  /** Its registrations are forgotten. */
  readonly isRetired: boolean;
  /** In the sidecar: the latest that a process of the node has claimed; 0 before the first. */
  readonly nonceEpoch: number;
}

/** What the process that was asked has sealed with itself. */
export interface DrawnEvidence {
  readonly dekId: number;
  readonly nonceEpoch: number;
  /** The highest counter that it has drawn. */
  readonly counter: number;
}

export interface NonceEvidence {
  readonly nodeId: string;
  /** Hex; null before there are keys. */
  readonly clusterId: string | null;
  readonly logPlace: LogPlace;
  /** False where the sidecar was read without the key that shows whether it was changed. */
  readonly isAuthenticated: boolean;
  readonly writers: readonly { readonly writerId: number; readonly nodeId: string }[];
  readonly keys: readonly KeyEvidence[];
  readonly rows: readonly WriterRow[];
  /** Empty for a data directory that no process uses. */
  readonly drawn: readonly DrawnEvidence[];
}

/** The part of it that is in the sidecar and the registry. */
export function evidenceOf(
  { nodeId, clusterId, writers, keys, retired }: KeyState,
  rows: readonly WriterRow[],
): Pick<NonceEvidence, 'nodeId' | 'clusterId' | 'writers' | 'keys' | 'rows'> {
  const known = [...keys].map(([dekId, { purpose, nonceEpoch }]) => {
    return { dekId, purpose, isRetired: false, nonceEpoch };
  });
  const gone = [...retired].map(([dekId, { purpose }]) => {
    return { dekId, purpose, isRetired: true, nonceEpoch: 0 };
  });
  return {
    nodeId,
    clusterId: clusterId ? Buffer.from(clusterId).toString('hex') : null,
    writers: [...writers].map(([writerId, owner]) => ({ writerId, nodeId: owner })),
    keys: [...known, ...gone],
    rows: rows.map(({ dekId, writerId, firstEpoch, lastEpoch }) => {
      return { dekId, writerId, firstEpoch, lastEpoch };
    }),
  };
}

const CLUSTER_ID_BYTES = 16;
const KEYS_MAX = 65_536;
const ROWS_MAX = 2 ** 20;
const dekIdBounds = { min: 1, max: 0xffff_ffff };
const writerIdBounds = { min: 1, max: 0xffff };
const epochBounds = { min: 0, max: NONCE_EPOCH_MAX };
const counterBounds = { min: 0, max: Number.MAX_SAFE_INTEGER };

/** Of another node, in JSON. */
export function readEvidence(fields: Fields): NonceEvidence {
  return {
    nodeId: fields.text('nodeId'),
    clusterId: fields.hexOrNull('clusterId', CLUSTER_ID_BYTES),
    logPlace: fields.oneOf('logPlace', ['embedded', 'etcd']),
    isAuthenticated: true,
    writers: fields.objectsIfAny('writers', KEYS_MAX).map((writer) => ({
      writerId: writer.integer('writerId', writerIdBounds),
      nodeId: writer.text('nodeId'),
    })),
    keys: fields.objectsIfAny('keys', KEYS_MAX).map((key) => ({
      dekId: key.integer('dekId', dekIdBounds),
      purpose: key.oneOf('purpose', ['storage', 'raft', 'index']),
      isRetired: key.flag('isRetired'),
      nonceEpoch: key.integer('nonceEpoch', epochBounds),
    })),
    rows: fields.objectsIfAny('rows', ROWS_MAX).map((row) => ({
      dekId: row.integer('dekId', dekIdBounds),
      writerId: row.integer('writerId', writerIdBounds),
      firstEpoch: row.integer('firstEpoch', epochBounds),
      lastEpoch: row.integer('lastEpoch', epochBounds),
    })),
    drawn: fields.objectsIfAny('drawn', KEYS_MAX).map((drawn) => ({
      dekId: drawn.integer('dekId', dekIdBounds),
      nonceEpoch: drawn.integer('nonceEpoch', epochBounds),
      counter: drawn.integer('counter', counterBounds),
    })),
  };
}
