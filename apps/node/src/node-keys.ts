/**
 * The keys of a node: sidecar, writer registry, keyring and the key-lifecycle state machine, opened
 * in the order in which nothing is burnt by a refusal.
 */
import { join } from 'node:path';
import { KeyLifecycle, type NoteEntry, type OnKekAway } from '@raftseal/applier';
import { type ClusterKeys, Keyring, type RaftSeal, type StoreRowSeal } from '@raftseal/envelope';
import { type KeyState, RaftsealError } from '@raftseal/interface';
import type { SidecarFileSystem } from '@raftseal/sidecar';
import { fingerprintOf } from './certificate/sealing-certificate.ts';
import { CountedRaftSeal, CountedStoreRowSeal } from './counted-seals.ts';
import type { KekSet } from './kek-set.ts';
import { checkAgainstRegistry, readKeyStateFile } from './key-state-file.ts';
import type { NodeCounters } from './node-counters.ts';
import { PayloadWrapInstaller } from './payload-wrap-installer.ts';
import { SealAuthority } from './seal-authority.ts';
import { SealLedger } from './seal-ledger.ts';
import type { Teardown } from './teardown.ts';
import { openWriterRegistry, type WriterRegistryStore } from './writer-registry-store.ts';

export interface NodeKeysOptions {
  readonly nodeId: string;
  readonly directory: string;
  readonly encryption: 'on' | 'off';
  readonly keks: KekSet;
  /** Where the sidecar is. Default: on this machine. */
  readonly fileSystem?: SidecarFileSystem;
  /** Where the writer registry is. Default: an LMDB environment in the directory given. */
  readonly openRegistry?: (directory: string) => WriterRegistryStore;
  /** Keeps a record of every entry. Default: nobody does. */
  readonly note?: NoteEntry;
  /** Told when an entry begins to wait for a KEK. Default: nobody is. */
  readonly onKekAway?: OnKekAway;
  /** Told of envelopes that did not open. Default: nobody is. */
  readonly onOpenFailure?: NodeCounters['openFailed'];
}

/** How long a marker waits for the control shard of this node before its shard halts. */
const CONTROL_WAIT_MS = 120_000;

export class NodeKeys {
  readonly nodeId: string;
  readonly keks: KekSet;
  readonly keyring: Keyring = new Keyring();
  readonly registry: WriterRegistryStore;
  readonly lifecycle: KeyLifecycle;
  readonly authority: SealAuthority;
  readonly ledger: SealLedger;
  readonly installer: PayloadWrapInstaller;
  readonly #onOpenFailure: NodeCounters['openFailed'];
  #raftSeal: RaftSeal | undefined;
  #rowSeal: StoreRowSeal | undefined;
  #certificateFingerprint: string | undefined;

  /** @throws RAFTSEAL_NODE_SIDECAR_*, RAFTSEAL_KEK_MISMATCH, RAFTSEAL_SIDECAR_*, RAFTSEAL_APPLIER_* */
  static async open(options: NodeKeysOptions, teardown: Teardown): Promise<NodeKeys> {
    const { file, state } = await readKeyStateFile(options);
    const { directory, openRegistry = openWriterRegistry } = options;
    const registry = openRegistry(join(directory, 'writers'));
    teardown.add(() => registry.close());
    checkAgainstRegistry(state, registry);
    const keys = new NodeKeys(options, { registry, sidecar: file, state });
    keys.ledger.start();
    teardown.add(() => keys.ledger.close());
    teardown.add(() => keys.lifecycle.close());
    await keys.lifecycle.startupInstall();
    return keys;
  }

  private constructor(
    { nodeId, keks, note, onKekAway, onOpenFailure = () => undefined }: NodeKeysOptions,
    parts: Pick<ConstructorParameters<typeof KeyLifecycle>[0], 'sidecar' | 'state'> & {
      readonly registry: WriterRegistryStore;
    },
  ) {
    this.nodeId = nodeId;
    this.keks = keks;
    this.registry = parts.registry;
    this.#onOpenFailure = onOpenFailure;
    this.installer = new PayloadWrapInstaller({
      authority: () => this.authority,
      raftSeal: () => this.raftSeal,
    });
    this.lifecycle = new KeyLifecycle({
      ...parts,
      nodeId,
      keyring: this.keyring,
      unwrapDek: keks.unwrap,
      installer: (install) => this.installer.install(install),
      controlWaitMs: CONTROL_WAIT_MS,
      ...(note && { note }),
      ...(onKekAway && { onKekAway }),
    });
    this.ledger = new SealLedger(parts.registry);
    this.lifecycle.onChange((state) => this.ledger.retain(state.keys));
    const { lifecycle: keyLifecycle, ledger } = this;
    this.authority = new SealAuthority({ nodeId, keyLifecycle, ledger });
  }

  get state(): KeyState {
    return this.lifecycle.state;
  }

  /** Seals and opens log entries of this cluster. @throws where there is no cluster id yet */
  get raftSeal(): RaftSeal {
    this.#raftSeal ??= new CountedRaftSeal(
      { clusterId: this.#clusterId(), keyring: this.keyring },
      (error) => this.#onOpenFailure('log', error),
    );
    return this.#raftSeal;
  }

  /** Seals and opens stored rows of this cluster. @throws where there is no cluster id yet */
  get rowSeal(): StoreRowSeal {
    this.#rowSeal ??= new CountedStoreRowSeal(
      {
        clusterId: this.#clusterId(),
        keyring: this.keyring,
        clusterKeys: this.#clusterKeys(),
        isUsedUp: (dekId) => this.ledger.isUsedUp(dekId),
      },
      (error) => this.#onOpenFailure('store', error),
    );
    return this.#rowSeal;
  }

  /** The DEK that rows are sealed under by this process now; undefined while none are. */
  get activeRowDekId(): number | undefined {
    return this.#rowSeal?.activeDekId;
  }

  /**
   * What the key that signs sealing certificates comes from: the same on every node, and over
   * rotations.
   * @returns 32 bytes that the caller owns and wipes.
   * @throws RAFTSEAL_NODE_NOT_BOOTSTRAPPED
   */
  certificateSeed(): Uint8Array {
    return this.#clusterKeys().certificateSeed();
  }

  /** Of the key that signs sealing certificates, 64 hex digits; null before there are keys. */
  get certificateFingerprint(): string | null {
    if (this.lifecycle.clusterKeys === undefined) return this.#certificateFingerprint ?? null;
    this.#certificateFingerprint ??= fingerprintOf(this.certificateSeed());
    return this.#certificateFingerprint;
  }

  /** Rows are sealed under the active storage DEK as soon as this process may seal under it. */
  refreshRowSeal(): void {
    const dekId = this.state.activeDekId.storage;
    if (dekId === 0 || this.rowSeal.activeDekId === dekId) return;
    if (!this.lifecycle.isRegistered(dekId)) return;
    this.rowSeal.setActive({ dekId, nonces: this.authority.nonces(dekId) });
  }

  #clusterId(): Uint8Array {
    const { clusterId } = this.state;
    if (clusterId) return clusterId;
    throw noKeysYet();
  }

  #clusterKeys(): ClusterKeys {
    const { clusterKeys } = this.lifecycle;
    if (clusterKeys) return clusterKeys;
    throw noKeysYet();
  }
}

function noKeysYet(): RaftsealError {
  return new RaftsealError(
    'RAFTSEAL_NODE_NOT_BOOTSTRAPPED',
    'there are no keys yet: run `raftseal encryption enable` first',
  );
}
