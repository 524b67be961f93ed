/**
 * A cluster's worth of keys, and processes of nodes to apply entries on: real KEK, keyring and
 * sidecar, and points between the effects at which a test can end the process.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClusterKeys, Keyring } from '@raftseal/envelope';
import type { KeyPurpose, KeyState, WriterRegistry, WriterRow } from '@raftseal/interface';
import { kekInMemory } from '@raftseal/kek-memory';
import {
  decodeSidecar,
  deriveMacKey,
  encodeSidecar,
  SidecarFile,
  type SidecarMac,
  type UnverifiedSidecar,
} from '@raftseal/sidecar';
import {
  type BootstrapEntry,
  encodeEntry,
  type Install,
  initialKeyState,
  KeyLifecycle,
  type KeyLifecycleEntry,
  type KeyLifecycleParts,
  MemoryWriterRegistry,
  type NewKey,
  type NonceClaim,
  type Outcome,
  type PlacedEntry,
  type RotateDekEntry,
  readKeyState,
  type SidecarPort,
  unwrapWith,
} from '../src/index.ts';

export const clusterId: Uint8Array = new Uint8Array(16).fill(0xc1);
export const kek = kekInMemory({ kek: sha256('kek'), kekUri: 'memory:one' });
export const foreignKek = kekInMemory({ kek: sha256('foreign'), kekUri: 'memory:one' });

/** Generous: only a test of the wait itself lets it pass. */
export const CONTROL_WAIT_MS = 5000;

export function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** The DEK of an id: a test can tell what was loaded. */
export function dekOf(dekId: number): Buffer {
  return sha256(`DEK ${dekId}`);
}

const newKeys = new Map<string, Promise<NewKey>>();

/** A key wrapped by the cluster's KEK; the same bytes for the same arguments. */
export function newKey(dekId: number, purpose: KeyPurpose, variant = 0): Promise<NewKey> {
  const name = `${dekId} ${purpose} ${variant}`;
  const known = newKeys.get(name);
  if (known !== undefined) return known;
  const made = kek
    .wrapKey(dekOf(dekId), { clusterId, dekId, purpose })
    .then((bytes) => wrapped(dekId, purpose, bytes));
  newKeys.set(name, made);
  return made;
}

/** A key that the cluster's KEK does not open. */
export async function foreignKey(dekId: number, purpose: KeyPurpose): Promise<NewKey> {
  const bytes = await foreignKek.wrapKey(dekOf(dekId), { clusterId, dekId, purpose });
  return wrapped(dekId, purpose, bytes);
}

function wrapped(dekId: number, purpose: KeyPurpose, bytes: Uint8Array): NewKey {
  const createdAtMs = 1_700_000_000_000;
  return { dekId, purpose, wraps: [{ kekUri: kek.kekUri, bytes }], createdAtMs };
}

/** Keys 1 (storage), 2 (raft) and 3 (index); writers a and b. */
export async function bootstrapEntry(
  changes: Partial<BootstrapEntry> = {},
): Promise<BootstrapEntry> {
  return {
    kind: 'bootstrap',
    clusterId,
    keys: [await newKey(1, 'storage'), await newKey(2, 'raft'), await newKey(3, 'index')],
    writers: ['a', 'b'],
    ...changes,
  };
}

export async function rotation(
  dekId: number,
  purpose: KeyPurpose,
  variant = 0,
): Promise<RotateDekEntry> {
  return rotationTo(await newKey(dekId, purpose, variant));
}

/** The rotation to a key; an index DEK brings the keys of the cluster along. */
export function rotationTo(key: NewKey): RotateDekEntry {
  const { dekId, purpose } = key;
  const sealedClusterKeys = purpose === 'index' ? sealedUnder(dekId) : undefined;
  return { kind: 'rotate-dek', ...key, ...(sealedClusterKeys && { sealedClusterKeys }) };
}

/** The cluster keys, sealed under an index DEK; those of another cluster for another first DEK. */
export function sealedUnder(dekId: number, firstDekId = 3): Uint8Array {
  const binding = { clusterId, dekId, dek: dekOf(dekId) };
  return Uint8Array.from(ClusterKeys.derived(dekOf(firstDekId)).seal(binding));
}

export function registration(nodeId: string, dekId: number, epoch: number): KeyLifecycleEntry {
  return { kind: 'register', nodeId, dekId, epoch };
}

/** The registration that a process asks for, once it has claimed an epoch. */
export function registrationOf(
  nodeId: string,
  dekId: number,
  { nonceEpoch, claimId }: NonceClaim,
): KeyLifecycleEntry {
  return { kind: 'register', nodeId, dekId, epoch: nonceEpoch, claimId };
}

export const enableStorage = (dekId: number): KeyLifecycleEntry => ({
  kind: 'enable-storage',
  dekId,
});

/** The request: the control shard's own marker. */
export const cutoverRequest = (dekId: number, ...wave: number[]): KeyLifecycleEntry => ({
  kind: 'enable-raft',
  dekId,
  controlIndex: 0n,
  waves: wave.length === 0 ? [] : [wave],
});

export const marker = (dekId: number, controlIndex: bigint): KeyLifecycleEntry => ({
  kind: 'enable-raft',
  dekId,
  controlIndex,
});

/** Under another KEK than the cluster's, which alone the processes of a world have, and that one. */
export async function rewrap(...keys: readonly NewKey[]): Promise<KeyLifecycleEntry> {
  const rewrapped = keys
    .toSorted((a, b) => a.dekId - b.dekId)
    .map(({ dekId, wraps }) => ({
      dekId,
      wraps: [{ kekUri: 'memory:two', bytes: sha256(`other wrap of ${dekId}`) }, ...wraps],
    }));
  return { kind: 'rewrap-deks', keys: rewrapped };
}

export const retirement = (dekId: number): KeyLifecycleEntry => ({ kind: 'retire-dek', dekId });

export const enableSealedOnly: KeyLifecycleEntry = { kind: 'enable-sealed-only' };

export const backup = (backupId: string, ...dekIds: number[]): KeyLifecycleEntry => ({
  kind: 'register-backup',
  backupId,
  createdAtMs: 1_700_000_000_000,
  dekIds,
});

export const forgetting = (backupId: string): KeyLifecycleEntry => ({
  kind: 'forget-backup',
  backupId,
});

export function placed(shardId: number, index: bigint, entry: KeyLifecycleEntry): PlacedEntry {
  return { shardId, index, body: encodeEntry(entry) };
}

/** Stops a node as if the process had ended: nothing of the effect's result comes back. */
export class Crash extends Error {}

export type CrashPoint =
  | 'before load'
  | 'after load'
  | 'before rows'
  | 'after rows'
  | 'before sidecar'
  | 'after sidecar'
  | 'before install'
  | 'after install'
  | 'before unload'
  | 'after unload';

export const crashPoints: readonly CrashPoint[] = [
  'before load',
  'after load',
  'before rows',
  'after rows',
  'before sidecar',
  'after sidecar',
  'before install',
  'after install',
  'before unload',
  'after unload',
];

/** A sidecar as one process has it open. */
export interface SidecarStore extends SidecarPort {
  read(): Promise<UnverifiedSidecar | undefined>;
}

/** What outlives a process; the sidecar's bytes are kept in memory. */
export class Disk {
  sidecar: Uint8Array | undefined;
  rows: readonly WriterRow[] = [];

  copy(): Disk {
    return Object.assign(new Disk(), { sidecar: this.sidecar, rows: this.rows });
  }

  open(): SidecarStore {
    return {
      read: async () => (this.sidecar === undefined ? undefined : decodeSidecar(this.sidecar)),
      write: async (state, mac) => {
        const bytes = encodeSidecar(state, mac);
        decodeSidecar(bytes).verify(deriveMacKey(dekOf(mac.dekId)));
        this.sidecar = bytes;
      },
    };
  }
}

/** The same with the real sidecar file. */
export class FileDisk extends Disk {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'raftseal-applier-'));

  override open(): SidecarStore {
    return new SidecarFile({ directory: this.directory });
  }

  remove(): void {
    rmSync(this.directory, { recursive: true });
  }
}

/** One process of a node over a disk. */
export class Process {
  readonly lifecycle: KeyLifecycle;
  readonly keyring: Keyring = new Keyring();
  readonly registry: MemoryWriterRegistry;
  /** Every effect as it was performed. */
  readonly performed: string[] = [];
  /** By shard: what is installed. */
  readonly installed = new Map<number, Install>();
  sidecarWrites = 0;
  /** The next time this point is passed, the process ends there. */
  crashAt: CrashPoint | undefined;
  readonly #disk: Disk;
  readonly #sidecar: SidecarStore;

  private constructor(
    { disk, sidecar }: { disk: Disk; sidecar: SidecarStore },
    state: KeyState,
    { controlWaitMs = CONTROL_WAIT_MS, ...parts }: Partial<KeyLifecycleParts>,
  ) {
    this.#disk = disk;
    this.#sidecar = sidecar;
    this.registry = new MemoryWriterRegistry(disk.rows);
    this.lifecycle = new KeyLifecycle({
      nodeId: state.nodeId,
      state,
      unwrapDek: async (key, binding) => {
        this.pass('before load');
        const dek = await unwrapWith([kek])(key, binding);
        this.pass('after load');
        return dek;
      },
      keyring: {
        add: (dekId, purpose, dek) => {
          this.performed.push(`load ${dekId}`);
          this.keyring.add(dekId, purpose, dek);
        },
        delete: (dekId) => {
          this.pass('before unload');
          this.performed.push(`unload ${dekId}`);
          this.keyring.delete(dekId);
        },
      },
      registry: this.#durableRegistry(),
      sidecar: { write: (next, mac) => this.#writeSidecar(next, mac) },
      installer: (install) => {
        this.pass('before install');
        this.performed.push(describeInstall(install));
        this.installed.set(install.shardId, install);
        this.pass('after install');
      },
      controlWaitMs,
      ...parts,
    });
  }

  /** Reads the disk and installs what is cut over. */
  static async start(
    disk: Disk,
    { nodeId = 'a', ...parts }: Partial<KeyLifecycleParts> = {},
  ): Promise<Process> {
    const sidecar = disk.open();
    const state = await readKeyState({ nodeId, sidecar, unwrapDek: unwrapWith([kek]) });
    const process = new Process({ disk, sidecar }, state, parts);
    await process.lifecycle.startupInstall();
    process.performed.length = 0;
    return process;
  }

  async apply(
    shardId: number,
    index: bigint,
    entry: KeyLifecycleEntry,
    signal?: AbortSignal,
  ): Promise<Outcome> {
    return await this.lifecycle.apply({ ...placed(shardId, index, entry), signal });
  }

  get state(): KeyState {
    return this.lifecycle.state;
  }

  pass(point: CrashPoint): void {
    if (this.crashAt !== point) return;
    this.crashAt = undefined;
    throw new Crash(point);
  }

  #durableRegistry(): WriterRegistry {
    return {
      rows: () => this.registry.rows(),
      row: (dekId, writerId) => this.registry.row(dekId, writerId),
      put: async (rows) => {
        this.pass('before rows');
        this.performed.push(`rows ${rows.map(describeRow).join(' ')}`);
        await this.registry.put(rows);
        this.#disk.rows = this.registry.rows();
        this.pass('after rows');
      },
      forget: async (dekIds) => {
        await this.registry.forget(dekIds);
        this.#disk.rows = this.registry.rows();
        this.pass('after unload');
      },
    };
  }

  async #writeSidecar(state: KeyState, mac: SidecarMac): Promise<void> {
    this.pass('before sidecar');
    await this.#sidecar.write(state, mac);
    this.performed.push('sidecar');
    this.sidecarWrites += 1;
    this.pass('after sidecar');
  }
}

export function describeRow({ dekId, writerId, firstEpoch, lastEpoch }: WriterRow): string {
  return `${dekId}/${writerId}@${firstEpoch}-${lastEpoch}`;
}

export function describeInstall({ shardId, cutoverIndex, dekId }: Install): string {
  return `install shard ${shardId} above ${cutoverIndex} with ${dekId}`;
}

/** A bootstrapped process of node a that was running when its keys were made. */
export async function bootstrapped(disk: Disk = new Disk()): Promise<Process> {
  const process = await Process.start(disk);
  process.lifecycle.noteControlHead(0n);
  await process.apply(0, 1n, await bootstrapEntry());
  process.performed.length = 0;
  return process;
}

/** The part of a state that all replicas agree on, in a form that compares and prints. */
export function sharedState(state: KeyState): Record<string, unknown> {
  const { nodeId: _, generation: __, keys, ...shared } = state;
  return {
    ...shared,
    keys: new Map([...keys].map(([dekId, { nonceEpoch: ___, ...key }]) => [dekId, key])),
  };
}

/** Everything but the count of writes. */
export function localState(state: KeyState): Omit<KeyState, 'generation'> {
  const { generation: _, ...rest } = state;
  return rest;
}

export function emptyState(nodeId = 'a'): KeyState {
  return initialKeyState(nodeId);
}
