/**
 * Key-lifecycle entries and their bytes in the log: msgpack arrays, a field known by its place.
 *
 * | entry | array |
 * | --- | --- |
 * | bootstrap | [1, 1, clusterId bin, [key, key, key], [nodeId str, ...]] |
 * | register | [1, 2, nodeId str, dekId, epoch] or [1, 2, nodeId str, dekId, epoch, claimId bin] |
 * | rotate-dek | [1, 3, purpose byte, dekId, wraps, createdAtMs u64, nil or sealedClusterKeys bin] |
 * | enable-storage | [1, 4, dekId] |
 * | enable-raft | [1, 5, dekId, controlIndex u64, nil or [[shardId, ...], ...]] |
 * | rewrap-deks | [1, 6, [[dekId, wraps], ...]] |
 * | retire-dek | [1, 7, dekId] |
 * | enable-sealed-only | [1, 8] |
 * | register-backup | [1, 9, backupId str, createdAtMs u64, [dekId, ...]] |
 * | forget-backup | [1, 10, backupId str] |
 *
 * key = [purpose byte, dekId, wraps, createdAtMs u64]; wraps = [[kekUri str, bytes bin], ...]. The
 * first element is the version, the second the kind. What this release does not know is fatal, not
 * skipped: a replica that skipped an entry others apply would have another key state than they.
 */
import {
  CLUSTER_ID_BYTES,
  fatalError,
  type KeyPurpose,
  NONCE_EPOCH_MAX,
  RaftsealError,
  SEALED_CLUSTER_KEYS_BYTES,
  type WrappedKey,
} from '@raftseal/interface';
import { Packr } from 'msgpackr';
import {
  BOOTSTRAP_WRITERS_MAX,
  CLAIM_ID_BYTES,
  entryProblem,
  REWRAPPED_KEYS_MAX,
  SHARDS_MAX,
  U32_MAX,
} from './entry-rules.ts';
import {
  keyFields,
  readBackup,
  readDekId,
  readKey,
  readText,
  readWaves,
  readWraps,
  wrapPairs,
} from './key-fields.ts';
import { PlainReader } from './plain-reader.ts';

/** Largest encoded entry. */
export const ENTRY_BYTES_MAX: number = 1024 * 1024;

export const ENTRY_VERSION = 1;

/** A DEK that a leader has just made. */
export interface NewKey {
  /** Non-zero u32, random, never used before. */
  readonly dekId: number;
  readonly purpose: KeyPurpose;
  /** 1 to 16, each under another KEK. */
  readonly wraps: readonly WrappedKey[];
  /** Milliseconds since the Unix epoch, by the leader's clock. */
  readonly createdAtMs: number;
}

/** Gives the cluster its identity, its first keys and its first writers; once. */
export interface BootstrapEntry {
  readonly kind: 'bootstrap';
  /** 16 bytes, random. */
  readonly clusterId: Uint8Array;
  /** One per purpose. */
  readonly keys: readonly NewKey[];
  /** Node ids; they get the writer ids 1, 2, ... in this order. */
  readonly writers: readonly string[];
}

/** Registers the nonce epoch under which a node seals with a DEK; makes an unknown node a writer. */
export interface RegisterEntry {
  readonly kind: 'register';
  readonly nodeId: string;
  readonly dekId: number;
  /** 1..65535. */
  readonly epoch: number;
  /**
   * 16 bytes: the claim that the epoch is registered for. Undefined where no process claimed it:
   * then the entry makes the node a writer, and no process may seal with the epoch.
   */
  readonly claimId?: Uint8Array | undefined;
}

/** Makes a new DEK the one that new seals of its purpose use. */
export interface RotateDekEntry extends NewKey {
  readonly kind: 'rotate-dek';
  /** With an index DEK, and only with one: 80 bytes, the keys of the cluster sealed under it. */
  readonly sealedClusterKeys?: Uint8Array | undefined;
}

/** Seals stored values from the next entry on. */
export interface EnableStorageEntry {
  readonly kind: 'enable-storage';
  /** The storage DEK that was active at the leader. */
  readonly dekId: number;
}

/** The marker of one shard: its log is sealed above it. */
export interface EnableRaftEntry {
  readonly kind: 'enable-raft';
  /** The raft DEK that was active at the leader. */
  readonly dekId: number;
  /**
   * 0 on the control shard. Elsewhere the control shard's applied index at the leader, which is
   * at or above the request and where `dekId` was made: a replica waits until it is there.
   */
  readonly controlIndex: bigint;
  /**
   * On the control shard only, whose marker is also the request to cut the others over: their
   * ids in order, those of one wave together. Empty where there are no others.
   */
  readonly waves?: readonly (readonly number[])[] | undefined;
}

/** Replaces the wraps of keys: under another KEK, under one more, or under one less. */
export interface RewrapDeksEntry {
  readonly kind: 'rewrap-deks';
  /** Ascending by id. All wraps that a key has from here on, 1 to 16. */
  readonly keys: readonly RewrappedKey[];
}

export interface RewrappedKey {
  readonly dekId: number;
  readonly wraps: readonly WrappedKey[];
}

/** Forgets a DEK that nothing needs any more. */
export interface RetireDekEntry {
  readonly kind: 'retire-dek';
  readonly dekId: number;
}

/** From the next entry on, what is in the clear is refused wherever it is found; for good. */
export interface EnableSealedOnlyEntry {
  readonly kind: 'enable-sealed-only';
}

/** Keeps the keys of a backup from being retired. */
export interface RegisterBackupEntry {
  readonly kind: 'register-backup';
  readonly backupId: string;
  /** Milliseconds since the Unix epoch, by the leader's clock. */
  readonly createdAtMs: number;
  /** Ascending. */
  readonly dekIds: readonly number[];
}

/** The backup is gone, or will not be restored any more. */
export interface ForgetBackupEntry {
  readonly kind: 'forget-backup';
  readonly backupId: string;
}

export type KeyLifecycleEntry =
  | BootstrapEntry
  | RegisterEntry
  | RotateDekEntry
  | EnableStorageEntry
  | EnableRaftEntry
  | RewrapDeksEntry
  | RetireDekEntry
  | EnableSealedOnlyEntry
  | RegisterBackupEntry
  | ForgetBackupEntry;

const kindByte: Readonly<Record<KeyLifecycleEntry['kind'], number>> = {
  bootstrap: 1,
  register: 2,
  'rotate-dek': 3,
  'enable-storage': 4,
  'enable-raft': 5,
  'rewrap-deks': 6,
  'retire-dek': 7,
  'enable-sealed-only': 8,
  'register-backup': 9,
  'forget-backup': 10,
};

const packr = new Packr({ useRecords: false });

/**
 * The bytes of an entry. Equal entries give equal bytes.
 * @returns at most {@link ENTRY_BYTES_MAX} bytes that the caller owns.
 * @throws RAFTSEAL_APPLIER_ENTRY_MALFORMED, RAFTSEAL_APPLIER_ENTRY_TOO_LARGE; neither is fatal
 *   here: nothing has been proposed.
 */
export function encodeEntry(entry: KeyLifecycleEntry): Buffer {
  const problem = entryProblem(entry);
  if (problem !== undefined) {
    throw new RaftsealError(
      'RAFTSEAL_APPLIER_ENTRY_MALFORMED',
      `expected a possible ${entry.kind} entry; found that ${problem}. Correct the request.`,
    );
  }
  const bytes = Buffer.from(
    packr.pack([ENTRY_VERSION, kindByte[entry.kind], ...entryFields(entry)]),
  );
  if (bytes.length > ENTRY_BYTES_MAX) {
    throw new RaftsealError(
      'RAFTSEAL_APPLIER_ENTRY_TOO_LARGE',
      `expected an entry of at most ${ENTRY_BYTES_MAX} bytes; found ${bytes.length}. ` +
        'Name fewer writers or KEKs.',
    );
  }
  return bytes;
}

function entryFields(entry: KeyLifecycleEntry): unknown[] {
  switch (entry.kind) {
    case 'bootstrap':
      return [Buffer.from(entry.clusterId), entry.keys.map(keyFields), entry.writers];
    case 'register':
      return registerFields(entry);
    case 'rotate-dek':
      return [...keyFields(entry), bytesOrNil(entry.sealedClusterKeys)];
    case 'enable-storage':
      return [entry.dekId];
    case 'enable-raft':
      return [entry.dekId, entry.controlIndex, entry.waves ?? null];
    case 'rewrap-deks':
      return [entry.keys.map(({ dekId, wraps }) => [dekId, wrapPairs(wraps)])];
    case 'retire-dek':
      return [entry.dekId];
    case 'enable-sealed-only':
      return [];
    case 'register-backup':
      return [entry.backupId, BigInt(entry.createdAtMs), entry.dekIds];
    case 'forget-backup':
      return [entry.backupId];
  }
}

function bytesOrNil(bytes: Uint8Array | undefined): Buffer | null {
  return bytes === undefined ? null : Buffer.from(bytes);
}

function registerFields({ nodeId, dekId, epoch, claimId }: RegisterEntry): unknown[] {
  const fields = [nodeId, dekId, epoch];
  return claimId === undefined ? fields : [...fields, Buffer.from(claimId)];
}

/**
 * Decodes what {@link encodeEntry} made.
 * @param bytes only read; nothing of it is kept.
 * @throws RAFTSEAL_APPLIER_ENTRY_TOO_LARGE, _ENTRY_VERSION, _ENTRY_MALFORMED; all fatal.
 */
export function decodeEntry(bytes: Uint8Array): KeyLifecycleEntry {
  if (bytes.length > ENTRY_BYTES_MAX) {
    throw fatalError(
      'RAFTSEAL_APPLIER_ENTRY_TOO_LARGE',
      `expected an entry of at most ${ENTRY_BYTES_MAX} bytes; found ${bytes.length}. ` +
        'No release writes such an entry: the log is damaged.',
    );
  }
  const reader = new PlainReader(bytes, malformed);
  const length = reader.arrayLength('entry', { min: 2, max: 16 });
  const version = reader.integer('version', { min: 0, max: U32_MAX });
  const kind = reader.integer('kind', { min: 0, max: U32_MAX });
  const read = version === ENTRY_VERSION ? entryReaders[kind] : undefined;
  if (read === undefined) throw unknownEntry(version, kind);
  const entry = read(reader, length - 2);
  reader.end();
  const problem = entryProblem(entry);
  if (problem === undefined) return entry;
  throw fatalError(
    'RAFTSEAL_APPLIER_ENTRY_MALFORMED',
    `expected a possible ${entry.kind} entry; found that ${problem}. A leader of another release ` +
      'proposed it, or the log is damaged.',
  );
}

type EntryReader = (reader: PlainReader, fields: number) => KeyLifecycleEntry;

/** By kind byte. `fields` is how many elements follow it. */
const entryReaders: Readonly<Record<number, EntryReader>> = {
  1: (reader, fields) => {
    expectFields('bootstrap', fields, 3);
    return {
      kind: 'bootstrap',
      clusterId: reader.byteString('clusterId', { min: CLUSTER_ID_BYTES, max: CLUSTER_ID_BYTES }),
      keys: reader.list('keys', { min: 3, max: 3 }, () => {
        reader.tuple('key', 4);
        return readKey(reader);
      }),
      writers: reader.list('writers', { min: 1, max: BOOTSTRAP_WRITERS_MAX }, () =>
        readText(reader, 'writer'),
      ),
    };
  },
  2: (reader, fields) => {
    if (fields !== 3) expectFields('register', fields, 4);
    const nodeId = readText(reader, 'nodeId');
    const dekId = readDekId(reader);
    const epoch = reader.integer('epoch', { min: 1, max: NONCE_EPOCH_MAX });
    if (fields === 3) return { kind: 'register', nodeId, dekId, epoch };
    const bounds = { min: CLAIM_ID_BYTES, max: CLAIM_ID_BYTES };
    return {
      kind: 'register',
      nodeId,
      dekId,
      epoch,
      claimId: reader.byteString('claimId', bounds),
    };
  },
  3: (reader, fields) => {
    expectFields('rotate-dek', fields, 5);
    const key = { kind: 'rotate-dek', ...readKey(reader) } as const;
    if (reader.nil()) return key;
    const bounds = { min: SEALED_CLUSTER_KEYS_BYTES, max: SEALED_CLUSTER_KEYS_BYTES };
    return { ...key, sealedClusterKeys: reader.byteString('sealedClusterKeys', bounds) };
  },
  4: (reader, fields) => {
    expectFields('enable-storage', fields, 1);
    return { kind: 'enable-storage', dekId: readDekId(reader) };
  },
  5: (reader, fields) => {
    expectFields('enable-raft', fields, 3);
    const dekId = readDekId(reader);
    const controlIndex = reader.u64('controlIndex');
    if (reader.nil()) return { kind: 'enable-raft', dekId, controlIndex };
    return { kind: 'enable-raft', dekId, controlIndex, waves: readWaves(reader, SHARDS_MAX) };
  },
  6: (reader, fields) => {
    expectFields('rewrap-deks', fields, 1);
    const keys = reader.list('keys', { min: 1, max: REWRAPPED_KEYS_MAX }, () => {
      reader.tuple('key', 2);
      const dekId = readDekId(reader);
      return { dekId, wraps: readWraps(reader) };
    });
    return { kind: 'rewrap-deks', keys };
  },
  7: (reader, fields) => {
    expectFields('retire-dek', fields, 1);
    return { kind: 'retire-dek', dekId: readDekId(reader) };
  },
  8: (_reader, fields) => {
    expectFields('enable-sealed-only', fields, 0);
    return { kind: 'enable-sealed-only' };
  },
  9: (reader, fields) => {
    expectFields('register-backup', fields, 3);
    const backupId = readText(reader, 'backupId');
    const { createdAtMs, dekIds } = readBackup(reader);
    return { kind: 'register-backup', backupId, createdAtMs, dekIds };
  },
  10: (reader, fields) => {
    expectFields('forget-backup', fields, 1);
    return { kind: 'forget-backup', backupId: readText(reader, 'backupId') };
  },
};

function expectFields(kind: string, found: number, expected: number): void {
  if (found === expected) return;
  throw fatalError(
    'RAFTSEAL_APPLIER_ENTRY_MALFORMED',
    `expected ${expected} fields in a ${kind} entry; found ${found}. Start the release that ` +
      'wrote the log, or a later one.',
  );
}

function malformed(what: string, found: string): RaftsealError {
  return fatalError(
    'RAFTSEAL_APPLIER_ENTRY_MALFORMED',
    `expected a key-lifecycle entry; found in ${what}: ${found}. Start the release that wrote ` +
      'the log, or a later one; if it is the same, the log is damaged.',
  );
}

function unknownEntry(version: number, kind: number): RaftsealError {
  return fatalError(
    'RAFTSEAL_APPLIER_ENTRY_VERSION',
    `expected a key-lifecycle entry of version ${ENTRY_VERSION} and a kind from 1 to 10; found ` +
      `version ${version}, kind ${kind}. Start the release that wrote the log, or a later one.`,
  );
}
