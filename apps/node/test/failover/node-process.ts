/**
 * One process of a node: the real key lifecycle over a real sidecar file, keyring, envelope seal,
 * installer, seal authority and cutover coordinator, with a shard group per shard. What stands
 * between it and the simulated log reports where a cutover is.
 */
import {
  decodeEntry,
  KeyLifecycle,
  type MemoryWriterRegistry,
  readKeyState,
} from '@raftseal/applier';
import { decodeEnvelope, Keyring, RaftSeal } from '@raftseal/envelope';
import {
  type AppendOutcome,
  type AppendRequest,
  assert,
  CONTROL_SHARD,
  type KeyState,
  type RaftEngine,
  type RaftsealError,
  type WriterRegistry,
} from '@raftseal/interface';
import { KIND_KEY_LIFECYCLE, ShardGroup, TAG_CLEARTEXT } from '@raftseal/shard-group';
import { SidecarFile, type SidecarMac } from '@raftseal/sidecar';
import { CutoverCoordinator } from '../../src/cutover-coordinator.ts';
import { KekSet } from '../../src/kek-set.ts';
import { PayloadWrapInstaller } from '../../src/payload-wrap-installer.ts';
import { SealAuthority } from '../../src/seal-authority.ts';
import type { FailoverWorld } from './failover-world.ts';
import { ListMachine } from './list-machine.ts';

/** What outlives a process of the node. */
export interface NodeDisk {
  readonly directory: string;
  readonly registry: MemoryWriterRegistry;
}

const CONTROL_WAIT_MS = 10_000;

export class NodeProcess {
  readonly nodeId: string;
  readonly groups: ReadonlyMap<number, ShardGroup<number>>;
  readonly machines: Map<number, ListMachine> = new Map();
  readonly lifecycle: KeyLifecycle;
  readonly coordinator: CutoverCoordinator;
  readonly halts: RaftsealError[] = [];
  /** Aborted once the process is gone: nothing that it still does has any effect. */
  readonly gone: AbortController = new AbortController();
  readonly #world: FailoverWorld;
  readonly #sidecar: SidecarFile;
  readonly #registry: WriterRegistry;
  #raftSeal: RaftSeal | undefined;
  #writing: Promise<unknown> = Promise.resolve();

  /** Reads the sidecar and installs what is cut over. */
  static async open(nodeId: string, disk: NodeDisk, world: FailoverWorld): Promise<NodeProcess> {
    const sidecar = new SidecarFile({ directory: disk.directory });
    const state = await readKeyState({ nodeId, sidecar, unwrapDek: KekSet.of(world.kek).unwrap });
    const node = new NodeProcess(world, { state, sidecar, registry: disk.registry });
    await node.lifecycle.startupInstall();
    const control = await world.cluster.engine(nodeId, CONTROL_SHARD).bounds();
    node.lifecycle.noteControlHead(control.headIndex);
    return node;
  }

  private constructor(
    world: FailoverWorld,
    parts: {
      readonly state: KeyState;
      readonly sidecar: SidecarFile;
      readonly registry: MemoryWriterRegistry;
    },
  ) {
    const { nodeId } = parts.state;
    this.nodeId = nodeId;
    this.#world = world;
    this.#sidecar = parts.sidecar;
    this.#registry = parts.registry;
    const keyring = new Keyring();
    const installer = new PayloadWrapInstaller({
      authority: () => authority,
      raftSeal: () => this.#seal(keyring),
    });
    this.lifecycle = new KeyLifecycle({
      nodeId,
      state: parts.state,
      unwrapDek: KekSet.of(world.kek).unwrap,
      keyring,
      registry: this.#durableRegistry(parts.registry),
      sidecar: { write: (state, mac) => this.#writeSidecar(state, mac) },
      installer: async (install) => {
        await this.#untilEnd();
        if (world.options.installs) installer.install(install);
        world.pass('wrap installed, gate closed', this, install.shardId);
        await this.#untilEnd();
      },
      controlWaitMs: CONTROL_WAIT_MS,
    });
    const authority = new SealAuthority({ nodeId, keyLifecycle: this.lifecycle });
    this.groups = new Map(
      world.shardIds.map((shardId) => [shardId, this.#group(shardId, installer)]),
    );
    this.coordinator = new CutoverCoordinator({
      groups: [...this.groups.values()],
      keyState: () => this.lifecycle.state,
      onFailure: () => undefined,
    });
    this.lifecycle.onChange(() => this.coordinator.consider());
  }

  /** Replays every log and stands for every election. */
  async run(): Promise<void> {
    await Promise.all([...this.groups.values()].map((group) => group.replay()));
    for (const group of this.groups.values()) group.campaign();
  }

  group(shardId: number): ShardGroup<number> {
    const group = this.groups.get(shardId);
    assert(group, `shard ${shardId} exists`);
    return group;
  }

  get isRegistered(): boolean {
    return this.lifecycle.isRegistered(this.lifecycle.state.activeDekId.raft);
  }

  get #isGone(): boolean {
    return this.gone.signal.aborted;
  }

  get registry(): WriterRegistry {
    return this.#registry;
  }

  /** The process is gone at this very moment. Resolves once its last write to the disk has ended. */
  async end(): Promise<void> {
    this.gone.abort();
    this.coordinator.stop();
    this.#world.cluster.crash(this.nodeId);
    void this.lifecycle.close();
    await this.#writing;
  }

  async stop(): Promise<void> {
    this.coordinator.stop();
    await Promise.all([...this.groups.values()].map((group) => group.stop()));
    await this.lifecycle.close();
  }

  #group(shardId: number, installer: PayloadWrapInstaller): ShardGroup<number> {
    const machine = new ListMachine();
    this.machines.set(shardId, machine);
    const world = this.#world;
    const group = new ShardGroup<number>(
      { shardId },
      {
        engine: this.#engine(world.cluster.engine(this.nodeId, shardId), shardId),
        stateMachine: machine,
        keyLifecycle: this.lifecycle,
        wrap: installer.wrapOf(shardId),
        onState: () => this.coordinator.consider(),
        onHalt: (error) => this.#isGone || this.halts.push(error),
        onCutoverStep: (step) => {
          if (step === 'gate-closed') world.pass('gate closed', this, shardId);
          if (step === 'drained') world.pass('drained', this, shardId);
        },
      },
    );
    installer.attach(group);
    return group;
  }

  #engine(inner: RaftEngine, shardId: number): RaftEngine {
    const append = (request: AppendRequest): Promise<AppendOutcome> =>
      isMarker(request.payload)
        ? this.#appendMarker(inner, request, shardId)
        : inner.append(request);
    return {
      append,
      limits: inner.limits,
      elect: (signal) => inner.elect(signal),
      read: (request) => inner.read(request),
      bounds: () => inner.bounds(),
      truncate: (throughIndex) => inner.truncate(throughIndex),
      members: () => inner.members(),
      close: () => inner.close(),
    };
  }

  async #appendMarker(
    inner: RaftEngine,
    request: AppendRequest,
    shardId: number,
  ): Promise<AppendOutcome> {
    const world = this.#world;
    world.prepareMarker(this, shardId);
    const append = inner.append(request);
    world.pass('marker in transit', this, shardId);
    const outcome = await append;
    if (outcome.outcome === 'ambiguous') {
      world.pass('marker ambiguous and landed', this, shardId);
      world.pass('marker ambiguous and lost', this, shardId);
      world.pass('marker ambiguous and late', this, shardId);
    }
    if (outcome.outcome === 'done') world.pass('marker committed, not applied', this, shardId);
    await this.#untilEnd();
    return outcome;
  }

  async #writeSidecar(state: KeyState, mac: SidecarMac): Promise<void> {
    await this.#untilEnd();
    const before = this.lifecycle.state.cutoverIndex;
    const write = this.#sidecar.write(state, mac);
    this.#writing = write.catch(() => undefined);
    await write;
    for (const shardId of state.cutoverIndex.keys()) {
      if (before.has(shardId)) continue;
      this.#world.pass('sidecar written, wrap not installed', this, shardId);
    }
    await this.#untilEnd();
  }

  #durableRegistry(registry: MemoryWriterRegistry): WriterRegistry {
    return {
      rows: () => registry.rows(),
      row: (dekId, writerId) => registry.row(dekId, writerId),
      put: async (rows) => {
        await this.#untilEnd();
        await registry.put(rows);
      },
      forget: async (dekIds) => {
        await this.#untilEnd();
        await registry.forget(dekIds);
      },
    };
  }

  #seal(keyring: Keyring): RaftSeal {
    const { clusterId } = this.lifecycle.state;
    assert(clusterId, 'a wrap is installed after Bootstrap');
    this.#raftSeal ??= new LedgerSeal({ clusterId, keyring }, this.#world.nonces);
    return this.#raftSeal;
  }

  /** Goes on while the process does; never, once it is gone. */
  async #untilEnd(): Promise<void> {
    if (this.#isGone) await new Promise(() => undefined);
  }
}

/** Notes every nonce that is drawn, also those of envelopes that never reach the log. */
class LedgerSeal extends RaftSeal {
  readonly #ledger: string[];

  constructor(parts: ConstructorParameters<typeof RaftSeal>[0], ledger: string[]) {
    super(parts);
    this.#ledger = ledger;
  }

  override seal(...args: Parameters<RaftSeal['seal']>): ReturnType<RaftSeal['seal']> {
    const payload = super.seal(...args);
    const { dekId, nonce } = decodeEnvelope(payload.subarray(args[2] ?? 0));
    this.#ledger.push(`${dekId} ${Buffer.from(nonce).toString('hex')}`);
    return payload;
  }
}

export function isMarker(payload: Uint8Array): boolean {
  if (payload[0] !== TAG_CLEARTEXT || payload[1] !== KIND_KEY_LIFECYCLE) return false;
  return decodeEntry(payload.subarray(2)).kind === 'enable-raft';
}
